"""The agent's own path to a phone under everything that may happen to it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from android_phone import Lab
from job_endings import Ending
from phone_fault_table import FAULTS, Fault
from phone_scenarios import observe
from phone_station import Station
from python_adbd import Daemon, adb_server
from structlog.testing import capture_logs

from distillfarm.agent.drivers.android import link, source
from distillfarm.agent.drivers.android.source import AndroidSource
from distillfarm.agent.inventory import Inventory
from distillfarm.agent.settings import AgentSettings
from distillfarm.domain.errors import Blame

NEW_BUILD = "maker/name/device:15/NEW.1/2:user/release-keys"


@pytest.fixture
def station(running_lab: Lab, phone_programs: Path, tmp_path: Path) -> Iterator[Station]:
    """The agent's side of one phone; what was sent there stays, for time's sake."""
    found = Station(running_lab, running_lab.phones[0], phone_programs, tmp_path)
    yield found
    found.heal()


async def until(holds: Callable[[], bool], limit_s: float) -> None:
    async with asyncio.timeout(limit_s):
        while not holds():  # noqa: ASYNC110 - a stand-in wakes nobody
            await asyncio.sleep(0.1)


@asynccontextmanager
async def watched(found: AndroidSource) -> AsyncIterator[list[tuple[str, ...]]]:
    """The serials that a source gives, turn by turn."""
    turns: list[tuple[str, ...]] = []

    async def watch() -> None:
        async for present in found.watch():
            turns.append(tuple(each.serial for each in present))  # noqa: PERF401

    watching = asyncio.create_task(watch())
    try:
        yield turns
    finally:
        watching.cancel()
        await asyncio.wait([watching])


@pytest.mark.parametrize("fault", FAULTS, ids=[each.name for each in FAULTS])
async def test_a_job_ends_as_the_table_says(station: Station, fault: Fault) -> None:
    seen = await observe(station, fault)
    assert Ending.of(seen.result) == fault.ending, seen.words
    assert fault.says in seen.words
    assert seen.left == []
    assert seen.settings_kept


async def test_after_an_update_a_job_is_refused_and_the_phone_probed_anew(
    station: Station,
) -> None:
    inventory = Inventory([station.source])
    watching = asyncio.create_task(inventory.watch(lambda: None, lambda _: None))

    def build() -> str:
        return "".join(each.os_build for each in inventory.devices() if each.serial == serial)

    serial = station.phone.address
    try:
        await until(lambda: bool(build()), 120)
        probed = inventory.device(serial)
        await asyncio.to_thread(station.phone.os_update, NEW_BUILD)
        result = await station.measure(probed)
        assert Ending.of(result) == Ending(None, Blame.PHONE, retryable=True)
        assert "updated" in result.error
        assert NEW_BUILD in result.error
        await until(lambda: build() == NEW_BUILD, 120)
        assert any(each.works for each in inventory.device(serial).info.runtimes)
    finally:
        watching.cancel()
        await asyncio.wait([watching])


async def test_a_phone_that_is_away_for_a_moment_stays_and_a_longer_one_goes_and_comes(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "GRACE_S", 4.0)
    monkeypatch.setattr(source, "_LOOK_S", 0.2)
    serial = station.phone.address
    async with watched(station.source) as turns:
        await until(lambda: bool(turns), 10)
        assert serial in turns[-1]
        station.lab.adb.disconnect(serial)
        await asyncio.sleep(1.5)
        await asyncio.to_thread(station.lab.connect, station.phone)
        await asyncio.sleep(1.0)
        assert len(turns) == 1
        station.lab.adb.disconnect(serial)
        await until(lambda: serial not in turns[-1], 15)
        await asyncio.to_thread(station.lab.connect, station.phone)
        await until(lambda: serial in turns[-1], 15)
    assert len(turns) == 3


async def test_a_phone_on_the_network_that_went_offline_is_connected_anew(
    running_lab: Lab, station: Station, phone_programs: Path, tmp_path: Path
) -> None:
    phone = station.phone
    named = Station(
        running_lab, phone, phone_programs, tmp_path / "named", adb_addresses=(phone.address,)
    )
    adb = running_lab.adb

    def listed() -> str | None:
        return link.states(adb).get(phone.address)

    async with watched(named.source):
        await until(lambda: listed() == "device", 10)
        await asyncio.to_thread(phone.stop_adbd)
        await until(lambda: listed() != "device", 15)
        await asyncio.to_thread(phone.start_adbd)
        await until(lambda: listed() == "device", 30)


@contextmanager
def unauthorized() -> Iterator[tuple[int, str]]:
    """The port of an adb server, and the address of a phone that waits for its owner."""
    with adb_server() as port:
        daemon = Daemon()
        daemon.faults.unauthorized = True
        try:
            yield port, daemon.address
        finally:
            daemon.stop()


async def test_an_unauthorized_phone_is_not_listed_and_its_owner_is_told_once(
    tmp_path: Path,
) -> None:
    with unauthorized() as (port, address), capture_logs() as said:
        settings = AgentSettings(
            state_dir=tmp_path, adb_port=port, adb_start=False, adb_addresses=(address,)
        )
        async with watched(AndroidSource(settings)) as turns:
            await until(lambda: any("accept" in each.get("reason", "") for each in said), 20)
            told, began_s = len(said), time.monotonic()
            await until(lambda: time.monotonic() > began_s + 6, 10)
    assert turns == [()]
    assert len(said) <= told + 1
    assert "accept this computer's key" in said[-1]["reason"]
