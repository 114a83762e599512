"""An iPhone that is really there, under production code; ``make hw-ios UDID=...`` runs it."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from launches import GOLDEN, LEASE, arrays, request
from runner_conformance import IMAGES, logits

from distillfarm.agent.drivers.finding import Grade
from distillfarm.agent.drivers.ios import usbmux
from distillfarm.agent.drivers.ios.checkup import checkup
from distillfarm.agent.drivers.ios.driver import IosDriver
from distillfarm.agent.drivers.ios.meters import UNMEASURED
from distillfarm.agent.drivers.ios.source import IosSource
from distillfarm.agent.execution import run_job
from distillfarm.agent.inventory import Probed
from distillfarm.agent.protocols import Attached
from distillfarm.agent.runners.onnxruntime import OnnxRuntimeRunner
from distillfarm.agent.settings import AgentSettings
from distillfarm.domain.agent import Assign
from distillfarm.domain.hardware import Platform
from distillfarm.domain.measurement import Outcome
from distillfarm.profiles.catalog import shipped

UDID = "DISTILLFARM_HW_UDID"
_FOUND_S = 30.0


@pytest.fixture
async def attached(tmp_path: Path) -> AsyncIterator[Attached]:
    """The phone as an agent finds it; ``DISTILLFARM_AGENT_IPHONE_APP`` names the app's package."""
    udid = os.environ.get(UDID)
    if not udid:
        pytest.skip(f"no iPhone is named: {UDID}, or make hw-ios UDID=...")
    listed = [each.udid for each in await usbmux.listed(usbmux.address()) if each.by_cable]
    if udid not in listed:
        pytest.fail(f"usbmuxd lists {', '.join(listed) or 'no iPhone'}, not {udid}")
    found = IosSource(AgentSettings(state_dir=tmp_path)).watch()
    async with asyncio.timeout(_FOUND_S):
        async for present in found:
            named = [each for each in present if each.serial == udid]
            if named:
                break
    yield named[0]
    assert isinstance(named[0].driver, IosDriver)
    await named[0].driver.close()


async def probed(attached: Attached) -> Probed:
    async with attached.driver as driver:
        return Probed(attached, await driver.probe())


async def test_doctor_finds_nothing_that_keeps_it_from_work(attached: Attached) -> None:
    async with attached.driver:
        # It is trusted, has its image and its app from here on.
        pass
    found = await asyncio.to_thread(lambda: list(checkup(AgentSettings())))
    ours = [each for each in found if each.subject == f"iPhone {attached.serial}"]
    assert ours
    assert [each for each in ours if each.grade is Grade.BAD] == []


async def test_its_facts_are_those_of_its_profile(attached: Attached) -> None:
    info = (await probed(attached)).info
    phone = shipped().phone(info)
    assert phone is not None
    assert info.platform is Platform.IOS
    assert info.memory_bytes // 2**30 in phone.memory_gb
    assert info.cores >= 6
    assert any(each.works for each in info.runtimes)
    assert all(each.refusal for each in info.runtimes if not each.works)


async def test_what_is_pushed_comes_back(attached: Attached, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(5_000_000))
    async with attached.driver as driver:
        remote = await driver.push(source, "model.bin")
        await driver.pull(remote, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


async def test_a_model_is_measured_and_answers_rightly(attached: Attached, tmp_path: Path) -> None:
    inputs = arrays(tmp_path, "inputs.npz", image=IMAGES)
    expected = arrays(tmp_path, "expected.npz", logits=logits())
    asked, files = request(GOLDEN / "cnn.onnx", "onnxruntime/cpu", inputs, expected)
    found = await probed(attached)
    told = await run_job(found, OnnxRuntimeRunner(), Assign(LEASE, asked), files, lambda *_: None)
    assert (told.outcome, told.reason) == (Outcome.OK, "")
    # A stand-in, on which these tests are proven, tells of the computer that it runs on.
    emulated = found.info.emulated
    assert told.emulated is emulated
    assert emulated or told.energy.reason == UNMEASURED
    for launch in told.launches:
        assert len(launch.samples_ns) >= 10
        assert launch.memory.peak_method == ("VmHWM" if emulated else "physFootprint")
        assert launch.first_output_ns > launch.load_ns > 0


async def test_its_state_is_told(attached: Attached) -> None:
    async with attached.driver as driver:
        assert isinstance(driver, IosDriver)
        state = await driver.weather()
        assert state.app is not None
        assert state.phone.locked is False
    assert attached.health is not None
    health = await attached.health()
    assert health.battery_percent is not None
