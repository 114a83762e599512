"""External meters as real programs, and which of a phone's meters is asked."""

import asyncio
import sys
import time
from pathlib import Path

import psutil
import pytest

from distillfarm.agent.meters.external import ExternalMeter, parse
from distillfarm.agent.meters.gauge import GaugeReading
from distillfarm.agent.meters.integration import Point
from distillfarm.agent.meters.odpm import Rail, RailReading
from distillfarm.agent.meters.phone import phone_energy
from distillfarm.agent.meters.sampled import NotMetered
from distillfarm.agent.protocols import DeviceDriver, Window

# Tells of a second at 2 W, then of one at 6 W, then of one at 2 W, ten readings each; then sleeps
# with a child of its own.
KNOWN_SERIES = """\
import subprocess, sys, time
begin_s = time.monotonic() - 3.2
print("# time power", flush=True)
print(begin_s - 1.0, 2.0, flush=True)
for index in range(31):
    watts = 6.0 if 10 <= index < 20 else 2.0
    print(f"{begin_s + index / 10 + 1e-9:.9f} {watts}", flush=True)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("idle now", flush=True)
time.sleep(1)
print(time.monotonic(), 2.0, flush=True)
time.sleep(600)
"""


def command(folder: Path, text: str) -> str:
    program = folder / "meter.py"
    program.write_text(text)
    return f"{sys.executable} {program}"


@pytest.mark.parametrize(
    ("line", "point"),
    [
        ('{"t_s": 1.5, "watts": 2}', Point(1.5, 2.0)),
        ("1.5 2.25\n", Point(1.5, 2.25)),
        ("time power", None),
        ("1.5", None),
        ("1.5 2.0 3.0", None),
        ('{"t_s": "x"}', None),
        ("", None),
    ],
)
def test_a_line_is_a_reading_or_a_remark(line: str, point: Point | None) -> None:
    assert parse(line) == point


async def test_a_known_series_gives_its_energy_and_nothing_is_left_running(
    tmp_path: Path, driver: DeviceDriver
) -> None:
    meter = ExternalMeter(command(tmp_path, KNOWN_SERIES), idle_s=0.0)
    await meter.start(driver)
    assert meter.refusal == ""
    await asyncio.sleep(0.5)
    first_s = meter._instrument._points[1].t_s  # type: ignore[attr-defined]
    energy = await meter.stop([Window(first_s + 0.5, first_s + 2.5, 10)])
    assert energy.reason == ""
    # Half a second at 2 W, one at 6, half at 2: 8 J, exact but for the slopes of the trapezoids.
    assert energy.gross_mj == pytest.approx(800.0, abs=1.0)
    assert energy.method == f"external meter by {Path(sys.executable).name}"
    assert energy.interval_s == pytest.approx(0.1)
    assert energy.resolution_mj is not None
    assert energy.resolution_mj < 120
    assert psutil.Process().children(recursive=True) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("print('no instrument on USB'); raise SystemExit(3)", "ended with code 3: no instrument"),
        ("import time; print(time.time(), 5.0)", "must be of this computer's monotonic clock"),
        ("print('x' * 100_000)", "endless line"),
    ],
)
async def test_a_program_that_does_not_measure_is_refused_with_its_own_words(
    text: str, words: str, tmp_path: Path, driver: DeviceDriver
) -> None:
    meter = ExternalMeter(command(tmp_path, text), idle_s=0.0)
    await meter.start(driver)
    energy = await meter.stop([Window(0.0, 1.0, 10)])
    assert energy.gross_mj is None
    assert words in energy.reason
    assert psutil.Process().children(recursive=True) == []


async def test_a_program_that_dies_in_mid_job_tells_no_energy(
    tmp_path: Path, driver: DeviceDriver
) -> None:
    text = "import time\nprint(time.monotonic(), 5.0, flush=True)\ntime.sleep(0.2)"
    meter = ExternalMeter(command(tmp_path, text), idle_s=0.0)
    await meter.start(driver)
    await asyncio.sleep(0.5)
    energy = await meter.stop([Window(0.0, 1.0, 10)])
    assert "ended with code 0" in energy.reason


async def test_readings_that_come_in_bursts_cover_the_last_inference(
    tmp_path: Path, driver: DeviceDriver
) -> None:
    """The stop does not end with a reading from before the last inference."""
    text = """
import time
while True:
    readings = []
    for _ in range(10):
        readings.append(f"{time.monotonic()} 5.0")
        time.sleep(0.05)
    print("\\n".join(readings), flush=True)
"""
    meter = ExternalMeter(command(tmp_path, text), idle_s=0.0)
    await meter.start(driver)
    begin_s = time.monotonic()
    await asyncio.sleep(1.0)
    energy = await meter.stop([Window(begin_s, time.monotonic(), 10)])
    assert energy.reason == ""
    assert energy.gross_mj == pytest.approx(500.0, rel=0.05)


class Rails:
    def __init__(self, *rails: Rail) -> None:
        self.rails = rails

    async def read(self) -> RailReading:
        if not self.rails:
            raise NotMetered("the phone shows no power rails")
        return RailReading(0.0, 0.0, self.rails)


class Plugged:
    looks = 0

    async def read(self) -> GaugeReading:
        self.looks += 1
        return GaugeReading(0.0, 0.0, 0, 4312, "full", ("usb",), False)


async def test_where_every_meter_refuses_each_reason_is_told(driver: DeviceDriver) -> None:
    meter = phone_energy("p1", Rails(), Plugged(), {"p1": "/no/such/meter", "p2": "x"})
    await meter.start(driver)
    energy = await meter.stop([Window(0.0, 1.0, 10)])
    assert energy.gross_mj is None
    external, rails, gauge = energy.reason.split("; ", 2)
    assert external.startswith("external meter: the meter's program cannot be started")
    assert rails == "power rails: the phone shows no power rails"
    assert gauge.startswith("battery gauge: usb feeds the phone")


async def test_a_phone_whose_rails_show_no_processor_is_told_which_it_has(
    driver: DeviceDriver,
) -> None:
    display = Rail("VSYS_PWR_DISPLAY", "Display", 1.0, 0.0)
    meter = phone_energy("p1", Rails(display), Plugged(), {})
    await meter.start(driver)
    assert "among the phone's rails: VSYS_PWR_DISPLAY" in (await meter.stop([])).reason


async def test_a_meter_that_measures_leaves_the_others_in_peace(
    tmp_path: Path, driver: DeviceDriver
) -> None:
    gauge = Plugged()
    text = "import time\nwhile True:\n print(time.monotonic(), 5.0, flush=True)\n time.sleep(0.1)"
    meter = phone_energy("p1", Rails(), gauge, {"p1": command(tmp_path, text)})
    await meter.start(driver)
    assert gauge.looks == 0
    await meter.stop([])
