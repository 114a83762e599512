"""What every ``Meter`` and ``EnergyMeter`` promises."""

import asyncio
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Event, Thread

import pytest

from distillfarm.agent.drivers.host.driver import HostDriver
from distillfarm.agent.meters.context import ContextMeter
from distillfarm.agent.meters.external import ExternalMeter
from distillfarm.agent.meters.gauge import BatteryGaugeMeter, GaugeReading
from distillfarm.agent.meters.odpm import OdpmMeter, Rail, RailReading
from distillfarm.agent.meters.phone import FirstOf, phone_energy
from distillfarm.agent.meters.rapl import RaplMeter
from distillfarm.agent.meters.sampled import NotMetered
from distillfarm.agent.protocols import (
    DeviceDriver,
    EnergyMeter,
    Meter,
    NotMeasured,
    Window,
)
from distillfarm.domain.measurement import Series


class WarmHost(HostDriver):
    """This computer with a thermometer that rises."""

    degrees = 40.0

    async def context(self) -> Mapping[str, str]:
        self.degrees += 0.5
        return {**await super().context(), "temperature_c": f"{self.degrees}"}


class MeterConformance:
    """Subclasses give ``meter`` and a ``driver`` that has the instrument."""

    @pytest.fixture
    def meter(self) -> Meter:
        raise NotImplementedError

    @pytest.fixture
    def driver(self, tmp_path: Path) -> DeviceDriver:
        raise NotImplementedError

    async def test_tells_a_series_with_its_unit_and_method(
        self, meter: Meter, driver: DeviceDriver
    ) -> None:
        await meter.start(driver)
        await asyncio.sleep(1.2)
        seen = await meter.stop()
        assert isinstance(seen, Series)
        assert seen.quantity == meter.quantity
        assert seen.unit
        assert seen.method
        times = [point.t_s for point in seen.points]
        assert len(times) >= 2
        assert times == sorted(times)
        assert 0 <= times[0] < times[-1] < 5

    async def test_can_be_stopped_without_a_start_and_twice(self, meter: Meter) -> None:
        for _ in range(2):
            seen = await meter.stop()
            assert isinstance(seen, NotMeasured)
            assert seen.reason

    async def test_nothing_goes_on_after_the_stop(self, meter: Meter, driver: DeviceDriver) -> None:
        await meter.start(driver)
        await meter.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}


class TestContextMeter(MeterConformance):
    @pytest.fixture
    def meter(self) -> Meter:
        return ContextMeter("temperature", "temperature_c", "°C")

    @pytest.fixture
    def driver(self, tmp_path: Path) -> DeviceDriver:
        return WarmHost(tmp_path)

    async def test_an_unreadable_fact_is_not_measured_and_not_cool(self, tmp_path: Path) -> None:
        class Blind(HostDriver):
            async def context(self) -> Mapping[str, str]:
                return {"temperature_c": "unreadable"}

        meter = ContextMeter("temperature", "temperature_c", "°C")
        await meter.start(Blind(tmp_path))
        assert await meter.stop() == NotMeasured("temperature", "unreadable")


class EnergyMeterConformance:
    """Subclasses give ``meter`` with an instrument that sees 10 W, and ``without`` with none."""

    @pytest.fixture
    def meter(self, tmp_path: Path) -> Iterator[EnergyMeter]:
        raise NotImplementedError

    @pytest.fixture
    def without(self, tmp_path: Path) -> EnergyMeter:
        raise NotImplementedError

    async def test_energy_comes_with_method_and_resolution(
        self, meter: EnergyMeter, tmp_path: Path
    ) -> None:
        await meter.start(HostDriver(tmp_path))
        await asyncio.sleep(1.0)  # the first reading of a program may take so long to come
        begin_s = time.monotonic()
        await asyncio.sleep(1.0)
        energy = await meter.stop([Window(begin_s, time.monotonic(), 100)])
        assert energy.method
        assert not energy.reason
        assert energy.gross_mj == pytest.approx(100.0, rel=0.2)
        assert energy.net_mj is not None
        assert abs(energy.net_mj) < 20
        assert energy.resolution_mj is not None
        assert 0 < energy.resolution_mj < 20
        assert energy.interval_s is not None
        assert 0 < energy.interval_s < 0.2
        assert energy.repeats == 1
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def test_without_an_instrument_there_is_a_reason_and_no_number(
        self, without: EnergyMeter, tmp_path: Path
    ) -> None:
        await without.start(HostDriver(tmp_path))
        energy = await without.stop([Window(0.0, 1.0, 100)])
        assert energy.reason
        assert (energy.method, energy.gross_mj, energy.net_mj) == ("", None, None)

    async def test_is_safe_to_stop_without_a_start(self, without: EnergyMeter) -> None:
        assert (await without.stop([])).reason


class TestRaplMeter(EnergyMeterConformance):
    @pytest.fixture
    def meter(self, tmp_path: Path) -> Iterator[EnergyMeter]:
        zone = tmp_path / "intel-rapl:0"
        zone.mkdir()
        (zone / "name").write_text("package-0\n")
        (zone / "max_energy_range_uj").write_text("12000000\n")
        counter = zone / "energy_uj"
        counter.write_text("0\n")
        ended = Event()

        def consume() -> None:
            begin_s = time.monotonic()
            while not ended.wait(0.002):
                # 10 W, so the counter wraps after 1.2 s, within the test.
                micro_joules = int((time.monotonic() - begin_s) * 10e6) % 12_000_000
                fresh = counter.with_suffix(".new")
                fresh.write_text(f"{micro_joules}\n")
                fresh.replace(counter)

        thread = Thread(target=consume)
        thread.start()
        yield RaplMeter(tmp_path)
        ended.set()
        thread.join()

    @pytest.fixture
    def without(self, tmp_path: Path) -> EnergyMeter:
        return RaplMeter(tmp_path / "none")


class TenWatts:
    """Readers of a device that draws 10 W all the time."""

    def __init__(self) -> None:
        self.begin_s = time.monotonic()
        self.value = 0


class TenWattRails(TenWatts):
    async def read(self) -> RailReading:
        now_s = time.monotonic()
        rail = Rail("S2M_VDD_CPUCL2", "CPU(BIG)", 10.0 * (now_s - self.begin_s), 1e-5)
        return RailReading(now_s, 0.001, (rail,))


class TenWattGauge(TenWatts):
    async def read(self) -> GaugeReading:
        self.value = 1 - self.value
        return GaugeReading(
            time.monotonic(), 0.001, -2_500_000 - self.value, 4000, "discharging", (), False
        )


class NoRails:
    async def read(self) -> RailReading:
        raise NotMetered("the phone shows no power rails")


class ChargingGauge:
    async def read(self) -> GaugeReading:
        return GaugeReading(time.monotonic(), 0.001, 100_000, 4000, "charging", ("usb",), False)


class TestOdpmMeter(EnergyMeterConformance):
    @pytest.fixture
    def meter(self, tmp_path: Path) -> EnergyMeter:
        return OdpmMeter(TenWattRails(), period_s=0.02, idle_s=0.2)

    @pytest.fixture
    def without(self, tmp_path: Path) -> EnergyMeter:
        return OdpmMeter(NoRails())


class TestBatteryGaugeMeter(EnergyMeterConformance):
    @pytest.fixture
    def meter(self, tmp_path: Path) -> EnergyMeter:
        return BatteryGaugeMeter(TenWattGauge(), period_s=0.02, idle_s=0.2)

    @pytest.fixture
    def without(self, tmp_path: Path) -> EnergyMeter:
        return BatteryGaugeMeter(ChargingGauge())


# A meter's program as one may be written: a reading every 5 ms on the monotonic clock.
PROGRAM = """\
import json, time
print("power meter, firmware 1.2", flush=True)
while True:
    print(json.dumps({"t_s": time.monotonic(), "watts": 10.0}), flush=True)
    time.sleep(0.005)
"""


class TestExternalMeter(EnergyMeterConformance):
    @pytest.fixture
    def meter(self, tmp_path: Path) -> EnergyMeter:
        program = tmp_path / "meter.py"
        program.write_text(PROGRAM)
        return ExternalMeter(f"{sys.executable} {program}", idle_s=0.2)

    @pytest.fixture
    def without(self, tmp_path: Path) -> EnergyMeter:
        return ExternalMeter(f"{tmp_path}/no-such-program")


class TestPhoneEnergy(EnergyMeterConformance):
    @pytest.fixture
    def meter(self, tmp_path: Path) -> EnergyMeter:
        gauge = BatteryGaugeMeter(TenWattGauge(), period_s=0.02, idle_s=0.2)
        return FirstOf({"power rails": OdpmMeter(NoRails()), "battery gauge": gauge})

    @pytest.fixture
    def without(self, tmp_path: Path) -> EnergyMeter:
        return phone_energy("serial-1", NoRails(), ChargingGauge(), {})
