"""Which profile a device gets when its names are shared, unknown or contradict each other."""

import pytest

from distillfarm.domain.hardware import Chipset, DeviceInfo, Platform
from distillfarm.profiles.catalog import SHIPPED, Catalog, load
from distillfarm.profiles.schema import ChipsetProfile, PhoneProfile

A, B, C = "chip_a", "chip_b", "chip_c"


def chipset(name: str, *boards: str) -> ChipsetProfile:
    return ChipsetProfile("Acme", name, Platform.ANDROID, (name,), {}, boards)


def phone(model: str, chipset_name: str, *codenames: str) -> PhoneProfile:
    return PhoneProfile("Acme", model, Platform.ANDROID, (model,), chipset_name, {}, codenames)


CATALOG = Catalog(
    {
        "one": phone("AP-1", A, "rocket"),
        "two": phone("AP-2", B, "comet"),
    },
    {A: chipset(A, "shared"), B: chipset(B, "shared"), C: chipset(C, "single")},
    {},
)


def device(model: str = "", *, soc: str = "", codename: str = "", board: str = "") -> DeviceInfo:
    return DeviceInfo(
        "s1",
        Platform.ANDROID,
        model,
        Chipset("", soc),
        "os",
        "build",
        8,
        2**33,
        codename=codename,
        board=board,
    )


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        pytest.param(device(soc=A, board="shared"), A, id="own name decides over shared board"),
        pytest.param(device(board="shared"), None, id="shared board alone decides nothing"),
        pytest.param(device(soc="shared", board="shared"), None, id="shared board in place of soc"),
        pytest.param(device("AP-2", soc="shared", board="shared"), B, id="phone settles the board"),
        pytest.param(device(board="single"), C, id="board of one chipset decides"),
        pytest.param(device(soc="SINGLE"), C, id="board in place of soc, any case"),
        pytest.param(
            device(soc="chip_x", board="single"), None, id="unknown soc beats known board"
        ),
        pytest.param(device("AP-1", soc="chip_x"), A, id="unknown soc of a known phone"),
        pytest.param(device("AP-1", soc=C), C, id="told chipset beats that of the phone"),
        pytest.param(device(), None, id="nothing told"),
    ],
)
def test_chipset(info: DeviceInfo, expected: str | None) -> None:
    found = CATALOG.chipset(info)
    assert (found.model if found else None) == expected


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        pytest.param(device("ap-1"), "AP-1", id="model number in any case"),
        pytest.param(device("AP-1X", codename="rocket"), "AP-1", id="codename of an unknown model"),
        pytest.param(device("AP-1", codename="comet"), "AP-1", id="model goes before codename"),
        pytest.param(device("AP-1", soc=B), None, id="another chipset is another phone"),
        pytest.param(
            device("AP-1", soc=B, codename="comet"), "AP-2", id="codename agrees with soc"
        ),
        pytest.param(device("AP-1", board="single"), None, id="board of another chipset"),
        pytest.param(device("AP-1", board="shared"), "AP-1", id="board that fits"),
        pytest.param(device("", codename=""), None, id="nothing told"),
    ],
)
def test_phone(info: DeviceInfo, expected: str | None) -> None:
    found = CATALOG.phone(info)
    assert (found.model if found else None) == expected


@pytest.mark.parametrize("board", ["taro", "lahaina", "pineapple"])
def test_boards_of_several_shipped_chipsets_need_the_phone(board: str) -> None:
    catalog = load(SHIPPED)
    assert len([each for each in catalog.chipsets.values() if board in each.boards]) > 1
    assert catalog.chipset(device(board=board)) is None


@pytest.mark.parametrize(
    ("model", "board", "expected"),
    [
        ("SM-A528B", "lahaina", "sm7325"),
        ("SM-G991U1", "lahaina", "sm8350"),
        ("A065", "taro", "sm8475"),
        ("unheard of", "zumapro", "tensor_g4"),
    ],
)
def test_a_phone_without_the_name_of_its_chipset_finds_it(
    model: str, board: str, expected: str
) -> None:
    catalog = load(SHIPPED)
    assert catalog.chipset(device(model, board=board)) is catalog.chipsets[expected]
