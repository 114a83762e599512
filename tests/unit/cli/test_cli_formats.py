import pytest

from distillfarm.cli import formats
from distillfarm.cli.studies import parse_duration
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.interval import UNBOUNDED, Interval
from distillfarm.domain.measurement import Energy


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (33_000, "33 KB"), (1_536_000, "1.54 MB"), (2e9, "2 GB")],
)
def test_byte_counts(count: float, text: str) -> None:
    assert formats.byte_count(count) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0213, "0.0213"),
        (0.213, "0.213"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (123.4, "123"),
    ],
)
def test_numbers_keep_three_digits(value: float, text: str) -> None:
    assert formats.number(value) == text


def test_intervals_stand_beside_their_value() -> None:
    assert formats.with_interval(Interval(0.112, 0.11, 0.115)) == "0.112 [0.110, 0.115]"
    assert formats.bytes_with_interval(Interval(61.2e6, 60.9e6, 61.4e6)) == "61.2 [60.9, 61.4] MB"
    assert formats.with_interval(Interval(0.892, 0.886, 0.898), 100) == "89.2 [88.6, 89.8]"


def test_one_launch_has_no_interval() -> None:
    assert formats.with_interval(Interval(2.0, 0.0, UNBOUNDED)) == "2.00 [?]"


def test_energy_that_was_not_measured_is_never_a_number() -> None:
    assert formats.energy(Energy(reason="no meter")) == "not measured"
    assert formats.energy(Energy("RAPL", gross_mj=2.0)) == "2.00 mJ gross"
    assert formats.energy(Energy("RAPL", gross_mj=2.0, net_mj=0.0)) == "0 mJ net"


@pytest.mark.parametrize(
    ("seconds", "text"), [(48, "48 s"), (185, "3 min 05 s"), (7800, "2 h 10 min"), (-3, "0 s")]
)
def test_durations(seconds: float, text: str) -> None:
    assert formats.duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2 h", 7200)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-1s", "soon", "1d", "nan", "1e9999"])
def test_durations_that_are_none(text: str) -> None:
    with pytest.raises(InvalidRequest, match="30m"):
        parse_duration(text)
