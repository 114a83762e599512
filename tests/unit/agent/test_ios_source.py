"""iPhones come and go as usbmuxd lists them, and no library is loaded to find that out."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from scripted_usbmuxd import ScriptedUsbmuxd, scripted_usbmuxd
from structlog.testing import capture_logs

from distillfarm.agent.drivers.ios import source, usbmux
from distillfarm.agent.drivers.ios.source import IosSource
from distillfarm.agent.drivers.ios.usbmux import Listed, NoUsbmuxd
from distillfarm.agent.protocols import Attached
from distillfarm.agent.settings import AgentSettings

A, B = "00008130-000000000000000A", "00008130-000000000000000B"


@pytest.fixture
def socket() -> Iterator[Path]:
    # A short path: a socket's name holds 107 characters.
    with TemporaryDirectory() as folder:
        yield Path(folder) / "mux"


@pytest.fixture
async def muxd(socket: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ScriptedUsbmuxd]:
    monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", str(socket))
    monkeypatch.setattr(source, "LIBRARY", "json")
    monkeypatch.setattr(source, "_LOOK_S", 0.02)
    monkeypatch.setattr(source, "GRACE_S", 0.2)
    async with scripted_usbmuxd(socket) as running:
        yield running


@pytest.fixture
def found(muxd: ScriptedUsbmuxd, tmp_path: Path) -> AsyncIterator[tuple[Attached, ...]]:
    return IosSource(AgentSettings(state_dir=tmp_path)).watch()


async def serials(found: AsyncIterator[tuple[Attached, ...]]) -> list[str]:
    async with asyncio.timeout(10):
        return [each.serial for each in await anext(found)]


async def test_what_is_listed_is_told_once_with_its_way(muxd: ScriptedUsbmuxd) -> None:
    muxd.phones = {A: "Network", f"{A}~": "USB", B: "Network"}
    assert await usbmux.listed(str(muxd.path)) == (Listed(A, 2, True), Listed(B, 3, False))


@pytest.mark.parametrize("raw", [b"", b"no plist", b"<plist><dict/></plist>"])
async def test_an_answer_that_is_none_of_usbmuxds_is_named(
    muxd: ScriptedUsbmuxd, raw: bytes
) -> None:
    muxd.raw = raw
    with pytest.raises(NoUsbmuxd, match="systemctl restart usbmuxd"):
        await usbmux.listed(str(muxd.path))


async def test_a_usbmuxd_that_hangs_is_not_waited_for(muxd: ScriptedUsbmuxd) -> None:
    muxd.silent = True
    with pytest.raises(NoUsbmuxd):
        await usbmux.listed(str(muxd.path), timeout_s=0.1)


async def test_phones_by_cable_appear_and_disappear(
    muxd: ScriptedUsbmuxd, found: AsyncIterator[tuple[Attached, ...]]
) -> None:
    assert await serials(found) == []
    muxd.phones = {A: "USB", B: "Network"}
    assert await serials(found) == [A]
    muxd.phones = {A: "USB", B: "USB"}
    assert await serials(found) == [A, B]
    muxd.phones = {B: "USB"}
    assert await serials(found) == [B]


async def test_a_glitch_of_the_cable_or_of_usbmuxd_loses_no_phone(
    muxd: ScriptedUsbmuxd, found: AsyncIterator[tuple[Attached, ...]]
) -> None:
    muxd.phones = {A: "USB"}
    assert await serials(found) == [A]
    change = asyncio.ensure_future(anext(found))
    await muxd.stop()
    await asyncio.sleep(0.1)
    await muxd.start()
    await asyncio.sleep(0.3)
    assert not change.done()
    change.cancel()


async def test_a_dead_socket_without_phones_is_no_news(
    muxd: ScriptedUsbmuxd, found: AsyncIterator[tuple[Attached, ...]]
) -> None:
    await muxd.stop()
    with capture_logs() as said:
        assert await serials(found) == []
    assert said == []


async def test_the_missing_extra_is_told_once_and_only_when_an_iphone_is_plugged_in(
    muxd: ScriptedUsbmuxd,
    found: AsyncIterator[tuple[Attached, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(source, "LIBRARY", "no_such_library")
    with capture_logs() as said:
        assert await serials(found) == []
        assert said == []
        muxd.phones = {A: "USB"}
        change = asyncio.ensure_future(anext(found))
        await asyncio.sleep(0.3)
    assert [each["reason"] for each in said] == [
        "plugged in, but pip install 'distillfarm[ios]' first"
    ]
    assert not change.done()
    change.cancel()


async def test_a_package_that_is_no_app_is_named(muxd: ScriptedUsbmuxd, tmp_path: Path) -> None:
    package = tmp_path / "app.ipa"
    package.write_bytes(b"no zip")
    muxd.phones = {A: "USB"}
    settings = AgentSettings(state_dir=tmp_path, iphone_app=package)
    with capture_logs() as said:
        assert await serials(IosSource(settings).watch()) == []
    assert "is no signed app" in str(said)


def test_looking_for_iphones_loads_no_library_for_them() -> None:
    code = (
        "import sys, distillfarm.agent.drivers.ios.source, distillfarm.agent.drivers.ios.checkup; "
        "sys.exit('pymobiledevice3' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
