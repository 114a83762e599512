"""The RAPL meter against a folder that looks like the kernel's, counters wrapping included."""

import asyncio
import time
from pathlib import Path

import pytest

from distillfarm.agent.meters.rapl import RaplMeter
from distillfarm.agent.protocols import DeviceDriver, Window


class Kernel:
    """A powercap folder whose counter grows at ``watts`` while it is being fed."""

    def __init__(self, folder: Path, wraps_at_uj: int) -> None:
        zone = folder / "intel-rapl:0"
        zone.mkdir(parents=True)
        (zone / "name").write_text("package-0\n")
        (zone / "max_energy_range_uj").write_text(f"{wraps_at_uj}\n")
        self._counter = zone / "energy_uj"
        self._wraps_at_uj = wraps_at_uj
        self._energy_uj = 0.9 * wraps_at_uj
        self.watts = 1.0
        self._write()

    async def feed(self) -> None:
        before = time.monotonic()
        while True:
            await asyncio.sleep(0.002)
            now = time.monotonic()
            self._energy_uj += 1e6 * self.watts * (now - before)
            before = now
            self._write()

    def _write(self) -> None:
        temporary = self._counter.with_suffix(".new")
        temporary.write_text(f"{int(self._energy_uj) % self._wraps_at_uj}\n")
        temporary.replace(self._counter)


async def test_energy_of_one_inference_is_power_over_rate_with_idle_taken_off(
    tmp_path: Path, driver: DeviceDriver
) -> None:
    kernel = Kernel(tmp_path, wraps_at_uj=3_000_000)
    feeding = asyncio.create_task(kernel.feed())
    meter = RaplMeter(tmp_path)
    await meter.start(driver)
    kernel.watts = 5.0
    await asyncio.sleep(0.1)
    begin_s = time.monotonic()
    await asyncio.sleep(1.0)
    end_s = time.monotonic()
    await asyncio.sleep(0.1)
    energy = await meter.stop([Window(begin_s, end_s, inferences=100)])
    feeding.cancel()
    assert energy.reason == ""
    assert energy.gross_mj == pytest.approx(50.0, rel=0.2)
    assert energy.net_mj == pytest.approx(40.0, rel=0.25)
    assert energy.resolution_mj is not None
    assert 0 < energy.resolution_mj < 0.1 * 50.0


async def test_no_counter_is_said_never_zero(tmp_path: Path, driver: DeviceDriver) -> None:
    meter = RaplMeter(tmp_path)
    await meter.start(driver)
    energy = await meter.stop([Window(0.0, 1.0, 10)])
    assert energy.gross_mj is None
    assert "no RAPL package counter" in energy.reason


async def test_inference_too_short_for_the_meter_is_said(
    tmp_path: Path, driver: DeviceDriver
) -> None:
    Kernel(tmp_path, wraps_at_uj=3_000_000)
    meter = RaplMeter(tmp_path)
    await meter.start(driver)
    now = time.monotonic()
    energy = await meter.stop([Window(now - 0.01, now, 10)])
    assert energy.gross_mj is None
    assert "too short" in energy.reason


async def test_a_meter_that_was_never_started_can_be_stopped(tmp_path: Path) -> None:
    assert (await RaplMeter(tmp_path).stop([])).reason == "the meter was not started"
