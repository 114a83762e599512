"""How devices fare is told, and a trouble that is news takes a device out of service."""

import asyncio
from dataclasses import replace

import farm_samples as samples
import pytest
from controller_farm import Farm, FarmFactory
from simulated_agent import SimulatedAgent

from distillfarm.controller.health import new_trouble
from distillfarm.controller.quantities import battery, temperature
from distillfarm.domain.agent import HealthReport
from distillfarm.domain.hardware import Device, DeviceHealth, DeviceStatus
from distillfarm.wire.convert import from_message
from distillfarm.wire.v1 import services_pb2 as pb
from distillfarm.wire.v1.services_pb2_grpc import DevicesStub

WELL = DeviceHealth("phone-1", 100.0, 81.0, "charging", 31.25, 0)
HOT = replace(WELL, temperature_c=51.0, throttling=3, trouble="51.0 °C at rest, limit 45")


@pytest.mark.parametrize(
    ("before", "now", "news"),
    [
        (None, "", ""),
        (None, "hot", "hot"),
        ("", "hot", "hot"),
        ("hot", "hot", ""),
        ("hot", "", ""),
        ("hot", "swollen", "swollen"),
    ],
)
def test_only_a_trouble_that_was_not_there_before_is_news(
    before: str | None, now: str, news: str
) -> None:
    known = None if before is None else replace(WELL, trouble=before)
    assert new_trouble(known, replace(WELL, trouble=now)) == news


def test_what_a_device_does_not_tell_is_not_made_up() -> None:
    silent = DeviceHealth("phone-1", 100.0)
    assert (battery(silent), temperature(silent)) == ("", "")
    assert (battery(None), temperature(None)) == ("", "")
    assert (battery(WELL), temperature(WELL)) == ("81 % charging", "31.2 °C")
    assert temperature(HOT) == "51.0 °C, severe throttling"
    assert temperature(replace(WELL, throttling=9)) == "31.2 °C, 9 throttling"


async def device(farm: Farm) -> Device:
    reply = await DevicesStub(farm.channel).ListDevices(pb.ListDevicesRequest())
    (found,) = reply.devices
    return from_message(found, Device)


async def told(farm: Farm, agent: SimulatedAgent, health: DeviceHealth) -> Device:
    """The device once the controller has heard this."""
    await agent.send(HealthReport((health,)))
    for _ in range(2000):
        seen = await device(farm)
        if seen.health == health:
            return seen
        await asyncio.sleep(0.01)
    raise AssertionError(f"the controller never heard {health}")


async def release(farm: Farm) -> None:
    await DevicesStub(farm.channel).ReleaseDevice(pb.ReleaseDeviceRequest(device_id="phone-1"))


async def test_a_device_shows_the_newest_that_its_agent_told(farm: Farm) -> None:
    async with SimulatedAgent(farm.address, "one", [samples.device_info()]) as agent:
        assert (await device(farm)).health is None
        assert (await told(farm, agent, WELL)).status is DeviceStatus.IDLE
        await agent.send(HealthReport((replace(WELL, serial="unknown"),)))
        assert (await told(farm, agent, replace(WELL, battery_percent=80.0))).health


async def test_a_trouble_quarantines_until_a_person_releases(farm: Farm) -> None:
    async with SimulatedAgent(farm.address, "one", [samples.device_info()]) as agent:
        held = await told(farm, agent, HOT)
        assert (held.status, held.note) == (DeviceStatus.QUARANTINED, HOT.trouble)
        assert (await told(farm, agent, WELL)).status is DeviceStatus.QUARANTINED


async def test_whoever_releases_a_device_is_not_overruled_by_the_trouble_he_knows(
    farm: Farm,
) -> None:
    async with SimulatedAgent(farm.address, "one", [samples.device_info()]) as agent:
        await told(farm, agent, HOT)
        await release(farm)
        again = replace(HOT, seen_at_s=200.0)
        assert (await told(farm, agent, again)).status is DeviceStatus.IDLE
        await told(farm, agent, replace(WELL, seen_at_s=300.0))
        back = await told(farm, agent, replace(HOT, seen_at_s=400.0))
        assert back.status is DeviceStatus.QUARANTINED


async def test_a_quarantine_keeps_the_reason_it_began_with(farm: Farm) -> None:
    async with SimulatedAgent(farm.address, "one", [samples.device_info()]) as agent:
        held = pb.QuarantineDeviceRequest(device_id="phone-1", reason="swollen")
        await DevicesStub(farm.channel).QuarantineDevice(held)
        assert (await told(farm, agent, HOT)).note == "swollen"


async def test_a_quarantine_outlives_the_controller(make_farm: FarmFactory) -> None:
    async with (
        make_farm() as farm,
        SimulatedAgent(farm.address, "one", [samples.device_info()]) as agent,
    ):
        await told(farm, agent, HOT)
    async with (
        make_farm() as farm,
        SimulatedAgent(farm.address, "one", [samples.device_info()]),
    ):
        back = await device(farm)
        assert (back.status, back.note) == (DeviceStatus.QUARANTINED, HOT.trouble)
        assert back.health is None
