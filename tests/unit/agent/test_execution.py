"""A job's stages: gates, launches, failures as data, and what is left behind."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from distillfarm.agent.execution import run_job
from distillfarm.agent.inventory import Probed
from distillfarm.agent.protocols import (
    Attached,
    DeviceDriver,
    Launched,
    LaunchFailure,
    NotMeasured,
    Prepared,
    ToolRan,
    Window,
)
from distillfarm.domain.agent import Assign
from distillfarm.domain.errors import Blame, DeviceNotReady, DeviceOffline
from distillfarm.domain.hardware import Chipset, DeviceInfo, Platform, Target, parse_target
from distillfarm.domain.job import ColdStart, JobRequest, Lease, MeasureSpec
from distillfarm.domain.measurement import (
    Energy,
    Launch,
    MemoryReading,
    Outcome,
    Reported,
    Series,
    SeriesPoint,
    ToolRun,
)
from distillfarm.domain.model import ArtifactRef, ModelFormat

TARGET = parse_target("onnxruntime")
INFO = DeviceInfo("serial-1", Platform.HOST, "box", Chipset("", "x"), "linux", "1", 2, 1)
LAUNCH = Launch(ColdStart.NEW_PROCESS, 9, 1, 1, 1, (), (5,), MemoryReading("VmHWM", 1, 2, 3), ())


class ScriptedRunner:
    """Gives the scripted results, one a launch, and remembers that it was cleaned."""

    def __init__(self, *results: Launched | ToolRan | LaunchFailure | Exception) -> None:
        self.results = list(results)
        self.cleaned = 0
        self.refused: str | None = None

    def refusal(self, info: DeviceInfo, target: Target) -> str | None:
        return self.refused

    async def prepare(
        self, driver: DeviceDriver, request: JobRequest, files: Mapping[str, Path]
    ) -> Prepared:
        return Prepared("model")

    async def launch(
        self, driver: DeviceDriver, request: JobRequest, prepared: Prepared
    ) -> Launched | ToolRan | LaunchFailure:
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    async def clean(self, driver: DeviceDriver, prepared: Prepared) -> None:
        self.cleaned += 1


class CountingMeter:
    """An energy meter that tells how many inferences it was asked about."""

    async def start(self, driver: DeviceDriver) -> None:
        pass

    async def stop(self, windows: Sequence[Window]) -> Energy:
        return Energy(reason=f"{sum(each.inferences for each in windows)} inferences")


class ScriptedMeter:
    """A meter that has seen this, or nothing."""

    def __init__(self, seen: Series | None) -> None:
        self._seen = seen
        self.quantity = seen.quantity if seen else "nothing"

    async def start(self, driver: DeviceDriver) -> None:
        pass

    async def stop(self) -> Series | NotMeasured:
        return self._seen or NotMeasured(self.quantity, "no sensor")


class BusyGate:
    """Open for the first ``free_looks``, then shut for the next ``looks``."""

    def __init__(
        self, looks: int, name: str = "busy", *, required: bool = False, free_looks: int = 0
    ) -> None:
        self.looks, self.free_looks = looks, free_looks
        self.name, self.required = name, required

    async def closed(self, driver: DeviceDriver) -> str | None:
        self.free_looks -= 1
        if self.free_looks >= 0:
            return None
        self.looks -= 1
        return "somebody else works" if self.looks >= 0 else None


def assign(launches: int = 2) -> Assign:
    artifact = ArtifactRef("sha256:" + "0" * 64, 1, ModelFormat.ONNX, "m.onnx")
    spec = MeasureSpec(launches=launches)
    request = JobRequest("key", artifact, TARGET, "*", spec)
    return Assign(Lease("job-1", "device-1", "agent-1", 7, 1e9), request)


def probed(driver: DeviceDriver, gate: BusyGate | None = None) -> Probed:
    gates = (gate,) if gate else ()
    attached = Attached(
        "serial-1", driver, gates, (), CountingMeter(), patience_s=0.6, required_patience_s=1.5
    )
    return Probed(attached, INFO)


async def test_every_launch_is_kept_and_energy_is_asked_for_all_windows(
    driver: DeviceDriver,
) -> None:
    runner = ScriptedRunner(*[Launched(LAUNCH, Window(0.0, 1.0, 5))] * 2)
    said: list[tuple[str, float]] = []
    measurement = await run_job(
        probed(driver), runner, assign(), {}, lambda text, done: said.append((text, done))
    )
    assert (measurement.outcome, len(measurement.launches)) == (Outcome.OK, 2)
    assert measurement.energy.reason == "10 inferences"
    assert ("launch 2 of 2", 0.5) in said
    assert runner.cleaned == 1
    assert (
        measurement.measurement_id
        != (
            await run_job(
                probed(driver),
                ScriptedRunner(LaunchFailure(Outcome.CRASHED, "SIGSEGV")),
                Assign(Lease("job-1", "device-1", "agent-1", 8, 1e9), assign().request),
                {},
                lambda *_: None,
            )
        ).measurement_id
    )


async def test_a_model_that_fails_ends_the_job_with_an_outcome(driver: DeviceDriver) -> None:
    runner = ScriptedRunner(Launched(LAUNCH), LaunchFailure(Outcome.INCORRECT, "off by 3", LAUNCH))
    measurement = await run_job(probed(driver), runner, assign(3), {}, lambda *_: None)
    assert (measurement.outcome, measurement.reason) == (Outcome.INCORRECT, "off by 3")
    assert len(measurement.launches) == 2
    assert runner.cleaned == 1


async def test_a_refused_target_never_touches_the_device(driver: DeviceDriver) -> None:
    runner = ScriptedRunner()
    runner.refused = "no NPU here"
    measurement = await run_job(probed(driver), runner, assign(), {}, lambda *_: None)
    assert (measurement.outcome, measurement.reason) == (Outcome.REFUSED, "no NPU here")
    assert measurement.launches == ()


async def test_the_harness_failing_is_an_error_and_cleans_up(driver: DeviceDriver) -> None:
    runner = ScriptedRunner(DeviceOffline("unplugged"))
    with pytest.raises(DeviceOffline):
        await run_job(probed(driver), runner, assign(), {}, lambda *_: None)
    assert runner.cleaned == 1


async def test_waiting_at_a_gate_is_reported_apart(driver: DeviceDriver) -> None:
    runner = ScriptedRunner(Launched(LAUNCH), Launched(LAUNCH))
    measurement = await run_job(
        probed(driver, BusyGate(looks=1)), runner, assign(), {}, lambda *_: None
    )
    assert measurement.launches[0].waited_s >= 0.5
    assert measurement.launches[1].waited_s < 0.5
    assert measurement.waited_s >= 0.5


async def test_a_gate_that_never_opens_is_named_in_the_context(driver: DeviceDriver) -> None:
    runner = ScriptedRunner(Launched(LAUNCH), Launched(LAUNCH))
    measurement = await run_job(
        probed(driver, BusyGate(looks=10**6)), runner, assign(), {}, lambda *_: None
    )
    context = {entry.name: entry.value for entry in measurement.context}
    assert context["gate_overrun.busy"] == "somebody else works"
    assert len(measurement.launches) == 2


async def test_a_required_gate_that_stays_shut_is_the_device_not_being_ready(
    driver: DeviceDriver,
) -> None:
    gate = BusyGate(10**6, "battery", required=True)
    began_s = time.monotonic()
    with pytest.raises(DeviceNotReady, match="battery: somebody else works") as raised:
        await run_job(probed(driver, gate), ScriptedRunner(), assign(), {}, lambda *_: None)
    assert time.monotonic() - began_s >= 1.5
    assert raised.value.retryable
    assert raised.value.blame is Blame.PHONE


async def test_a_model_that_heats_the_device_for_good_is_overheated(driver: DeviceDriver) -> None:
    gate = BusyGate(10**6, "temperature", required=True, free_looks=1)
    runner = ScriptedRunner(Launched(LAUNCH), Launched(LAUNCH))
    measurement = await run_job(probed(driver, gate), runner, assign(), {}, lambda *_: None)
    assert measurement.outcome is Outcome.OVERHEATED
    assert len(measurement.launches) == 1


async def test_what_meters_saw_is_kept_as_it_is(driver: DeviceDriver) -> None:
    seen = Series("temperature", "°C", "a sensor", (SeriesPoint(0.5, 30.0), SeriesPoint(1.5, 31.0)))
    attached = Attached(
        "serial-1", driver, (), (ScriptedMeter(seen), ScriptedMeter(None)), CountingMeter()
    )
    runner = ScriptedRunner(Launched(LAUNCH), Launched(LAUNCH))
    measurement = await run_job(Probed(attached, INFO), runner, assign(), {}, lambda *_: None)
    assert measurement.series == (seen,)
    context = {entry.name: entry.value for entry in measurement.context}
    assert context["during.temperature"] == "30 .. 31 °C"
    assert context["during.nothing"] == "not measured: no sensor"


async def test_runs_of_a_makers_tool_stand_apart_from_launches(driver: DeviceDriver) -> None:
    told = ToolRun("benchmark_model", (Reported("avg", 947.1, "us"),))
    runner = ScriptedRunner(ToolRan(told), ToolRan(told))
    measurement = await run_job(probed(driver), runner, assign(), {}, lambda *_: None)
    assert (measurement.outcome, measurement.launches) == (Outcome.OK, ())
    assert [each.reported for each in measurement.tool_runs] == [told.reported] * 2


async def test_an_emulated_device_has_no_energy(driver: DeviceDriver) -> None:
    info = replace(INFO, emulated=True)
    attached = Attached("serial-1", driver, (), (), CountingMeter())
    runner = ScriptedRunner(*[Launched(LAUNCH, Window(0.0, 1.0, 5))] * 2)
    measurement = await run_job(Probed(attached, info), runner, assign(), {}, lambda *_: None)
    assert measurement.emulated
    assert "emulated" in measurement.energy.reason
