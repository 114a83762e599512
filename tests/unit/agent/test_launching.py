"""How many launches a job makes, in which order, and what a comparison keeps when a side fails."""

import asyncio
import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from distillfarm.agent.execution import run_job
from distillfarm.agent.inventory import Probed
from distillfarm.agent.meters.rapl import RaplMeter
from distillfarm.agent.protocols import (
    Attached,
    DeviceDriver,
    Gate,
    Launched,
    LaunchFailure,
    Prepared,
    Window,
)
from distillfarm.domain.agent import Assign
from distillfarm.domain.errors import DeviceNotReady
from distillfarm.domain.hardware import Chipset, DeviceInfo, Platform, Target, parse_target
from distillfarm.domain.job import ColdStart, JobRequest, Lease, MeasureSpec, Mode, Rival
from distillfarm.domain.measurement import Launch, Measurement, MemoryReading, Outcome, Stop
from distillfarm.domain.model import ArtifactRef, ModelFormat

INFO = DeviceInfo("serial-1", Platform.HOST, "box", Chipset("", "x"), "linux", "1", 2, 1)
OWN, OTHER = (
    ArtifactRef(f"sha256:{digit * 64}", 1, ModelFormat.ONNX, f"{digit}.onnx") for digit in "ab"
)
RIVAL = Rival(OTHER, parse_target("litert"), "sha256:" + "c" * 64, "sha256:" + "d" * 64, 0.5)
LEASE = Lease("job-1", "device-1", "agent-1", 7, 1e9)


def launch(ms: float) -> Launch:
    memory = MemoryReading("VmHWM", 1, 2, 3)
    samples = (int(ms * 1e6),) * 10
    return Launch(ColdStart.NEW_PROCESS, 9, 1, 1, 1, (), samples, memory, ())


class TimesRunner:
    """Launches take the given times, for ever; ``order`` is a log that runners may share."""

    def __init__(self, name: str, order: list[str], *ms: float, fails_at: int = 0) -> None:
        self.name, self.order = name, order
        self.fails_at = fails_at
        self.launched = 0
        self.refused: str | None = None
        self.asked: JobRequest | None = None
        self.cleaned = 0
        self._ms: Iterator[float] = itertools.cycle(ms)
        self.takes_s = 0.0

    def refusal(self, info: DeviceInfo, target: Target) -> str | None:
        return self.refused

    async def prepare(
        self, driver: DeviceDriver, request: JobRequest, files: Mapping[str, Path]
    ) -> Prepared:
        return Prepared(self.name)

    async def launch(
        self, driver: DeviceDriver, request: JobRequest, prepared: Prepared
    ) -> Launched | LaunchFailure:
        assert prepared.model == self.name
        self.asked = request
        self.order.append(self.name)
        self.launched += 1
        await asyncio.sleep(self.takes_s)
        if self.launched == self.fails_at:
            return LaunchFailure(Outcome.CRASHED, f"{self.name} crashed")
        return Launched(launch(next(self._ms)), Window(0.0, 1.0, 10))

    async def clean(self, driver: DeviceDriver, prepared: Prepared) -> None:
        self.cleaned += 1


class HotGate:
    """Shut for good after so many looks."""

    name, required = "temperature", True

    def __init__(self, free_looks: int) -> None:
        self.free_looks = free_looks

    async def closed(self, driver: DeviceDriver) -> str | None:
        self.free_looks -= 1
        return None if self.free_looks >= 0 else "41.0 °C, limit 38"


class Job:
    """A job, run by scripted runners; what it told people while it ran."""

    def __init__(self, driver: DeviceDriver, *gates: Gate) -> None:
        attached = Attached(
            "serial-1", driver, gates, (), RaplMeter(Path("/nowhere")), required_patience_s=0.6
        )
        self.probed = Probed(attached, INFO)
        self.told: list[tuple[str, float]] = []

    async def run(
        self, spec: MeasureSpec, runner: TimesRunner, rival: TimesRunner | None = None
    ) -> Measurement:
        request = JobRequest("key", OWN, parse_target("onnxruntime"), "*", spec)
        if rival is not None:
            request = replace(request, rival=RIVAL)
        return await run_job(
            self.probed,
            runner,
            Assign(LEASE, request),
            {},
            lambda *told: self.told.append(told),
            rival=rival,
        )


@pytest.fixture
def job(driver: DeviceDriver) -> Job:
    return Job(driver)


async def test_a_count_alone_is_kept_to(job: Job) -> None:
    measured = await job.run(MeasureSpec(launches=3), TimesRunner("a", [], 1.0, 2.0))
    assert (len(measured.launches), measured.stop) == (3, Stop.COUNT)


async def test_launches_end_once_the_interval_is_as_narrow_as_asked(job: Job) -> None:
    spec = MeasureSpec(launches=3, max_launches=40, width=0.05)
    # The first launches are far apart; those after them agree.
    runner = TimesRunner("a", [], 1.0, 1.4, 0.8, 1.2, *[1.0] * 36)
    measured = await job.run(spec, runner)
    assert measured.stop is Stop.WIDTH
    assert 6 < len(measured.launches) < 40
    assert any(
        text.startswith("launch 6 of at most 40; interval") and text.endswith("asked for 5 %")
        for text, _ in job.told
    )


async def test_launches_that_never_agree_end_at_the_most(job: Job) -> None:
    spec = MeasureSpec(launches=3, max_launches=9, width=0.05)
    measured = await job.run(spec, TimesRunner("a", [], 1.0, 2.0))
    assert (len(measured.launches), measured.stop) == (9, Stop.LAUNCHES)
    assert [done for _, done in job.told] == sorted(done for _, done in job.told)


async def test_only_launching_spends_the_budget_of_time(job: Job) -> None:
    spec = MeasureSpec(launches=2, max_launches=9, width=0.01, budget_s=0.5, cooldown_s=0.3)
    runner = TimesRunner("a", [], 1.0, 2.0)
    runner.takes_s = 0.1
    measured = await job.run(spec, runner)
    # Of 0.1 s each; with what lay between them two would have been too many.
    assert (len(measured.launches), measured.stop) == (5, Stop.TIME)


async def test_a_cool_down_lies_before_every_launch_but_the_first_and_is_told_apart(
    job: Job,
) -> None:
    measured = await job.run(MeasureSpec(launches=3, cooldown_s=0.2), TimesRunner("a", [], 1.0))
    waits_s = [each.waited_s for each in measured.launches]
    assert waits_s[0] < 0.2 <= min(waits_s[1:])
    assert measured.waited_s >= 0.4
    assert ("launch 2 of 3; cools down for 0.2 s", 1 / 3) in job.told


async def test_cancelling_ends_a_cool_down_at_once(job: Job) -> None:
    runner = TimesRunner("a", [], 1.0)
    running = asyncio.create_task(job.run(MeasureSpec(cooldown_s=600.0), runner))
    async with asyncio.timeout(5):
        while not any("cools down" in text for text, _ in job.told):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert runner.cleaned == 1


async def test_what_a_launch_waits_for_is_told(driver: DeviceDriver) -> None:
    job = Job(driver, HotGate(free_looks=1))
    await job.run(MeasureSpec(launches=2), TimesRunner("a", [], 1.0))
    assert ("launch 2 of 2; waits for temperature: 41.0 °C, limit 38", 0.5) in job.told


async def test_each_launch_has_a_patience_of_its_own_with_required_gates(
    driver: DeviceDriver,
) -> None:
    class CoolsDown(HotGate):
        """Shut for the first look before every launch."""

        async def closed(self, driver: DeviceDriver) -> str | None:
            self.free_looks += 1
            return "41.0 °C, limit 38" if self.free_looks % 2 else None

    job = Job(driver, CoolsDown(0))
    began_s = time.monotonic()
    measured = await job.run(MeasureSpec(launches=3), TimesRunner("a", [], 1.0))
    assert measured.outcome is Outcome.OK
    assert time.monotonic() - began_s > 0.6


async def test_a_rival_is_launched_in_turn_and_keeps_its_own_request(job: Job) -> None:
    order: list[str] = []
    own, other = TimesRunner("a", order, 1.0), TimesRunner("b", order, 2.0)
    measured = await job.run(MeasureSpec(launches=4), own, other)
    assert "".join(order) == "abbaabba"
    assert measured.rival is not None
    assert (measured.rival.artifact_digest, measured.rival.target) == (OTHER.digest, RIVAL.target)
    assert (measured.rival.outcome, len(measured.rival.launches)) == (Outcome.OK, 4)
    assert len(measured.launches) == 4
    assert other.asked is not None
    asked = other.asked.spec
    assert (asked.inputs_digest, asked.expected_digest, asked.tolerance) == (
        RIVAL.inputs_digest,
        RIVAL.expected_digest,
        0.5,
    )
    assert (own.cleaned, other.cleaned) == (1, 1)
    assert any(text == "launch 2 of 4 of the rival" for text, _ in job.told)


async def test_a_comparison_ends_when_the_ratio_is_known_however_both_sides_vary(
    job: Job,
) -> None:
    spec = MeasureSpec(launches=6, max_launches=40, width=0.05)
    order: list[str] = []
    drifting = [1.0 + 0.3 * at for at in range(40)]
    own = TimesRunner("a", order, *drifting)
    measured = await job.run(spec, own, TimesRunner("b", order, *[2 * each for each in drifting]))
    assert measured.stop is Stop.WIDTH
    assert len(measured.launches) == 8  # no interval counts as narrow before


@pytest.mark.parametrize(
    ("failing", "outcomes", "counts"),
    [
        ("a", (Outcome.CRASHED, Outcome.OK), (1, 2)),
        ("b", (Outcome.OK, Outcome.CRASHED), (1, 1)),
    ],
)
async def test_a_failure_ends_the_comparison_in_the_place_of_its_side(
    job: Job, failing: str, outcomes: tuple[Outcome, Outcome], counts: tuple[int, int]
) -> None:
    order: list[str] = []
    own = TimesRunner("a", order, 1.0, fails_at=2 if failing == "a" else 0)
    other = TimesRunner("b", order, 1.0, fails_at=2 if failing == "b" else 0)
    measured = await job.run(MeasureSpec(launches=4), own, other)
    assert measured.rival is not None
    assert (measured.outcome, measured.rival.outcome) == outcomes
    assert (len(measured.launches), len(measured.rival.launches)) == counts
    reasons = {measured.reason, measured.rival.reason}
    assert reasons == {"", f"{failing} crashed"}


async def test_a_rival_that_the_device_refuses_ends_the_comparison_at_its_turn(job: Job) -> None:
    order: list[str] = []
    own, other = TimesRunner("a", order, 1.0), TimesRunner("b", order, 1.0)
    other.refused = "no NPU here"
    measured = await job.run(MeasureSpec(launches=4), own, other)
    assert order == ["a"]
    assert (measured.outcome, len(measured.launches)) == (Outcome.OK, 1)
    assert measured.rival is not None
    assert (measured.rival.outcome, measured.rival.reason) == (Outcome.REFUSED, "no NPU here")
    assert (own.cleaned, other.cleaned) == (1, 0)


async def test_heat_that_stays_is_the_outcome_of_both_sides(driver: DeviceDriver) -> None:
    job = Job(driver, HotGate(free_looks=3))
    order: list[str] = []
    own, other = TimesRunner("a", order, 1.0), TimesRunner("b", order, 1.0)
    measured = await job.run(MeasureSpec(launches=4), own, other)
    assert measured.rival is not None
    assert (measured.outcome, measured.rival.outcome) == (Outcome.OVERHEATED, Outcome.OVERHEATED)
    assert (len(measured.launches), len(measured.rival.launches)) == (1, 2)


async def test_a_long_launch_has_the_patience_of_its_own_length(driver: DeviceDriver) -> None:
    job = Job(driver, HotGate(free_looks=1))
    spec = MeasureSpec(launches=2, mode=Mode.SUSTAINED, duration_s=1.2)
    began_s = time.monotonic()
    measured = await job.run(spec, TimesRunner("a", [], 1.0))
    assert measured.outcome is Outcome.OVERHEATED
    assert time.monotonic() - began_s >= 1.2
    assert job.told[1] == ("launch 1 of 2, 1.2 s each", 0.0)


async def test_a_device_that_is_hot_from_the_beginning_is_not_ready(driver: DeviceDriver) -> None:
    with pytest.raises(DeviceNotReady):
        await Job(driver, HotGate(free_looks=0)).run(MeasureSpec(), TimesRunner("a", [], 1.0))


async def test_the_context_tells_how_it_was_launched_and_by_which_runtimes(job: Job) -> None:
    measured = await job.run(MeasureSpec(), TimesRunner("a", [], 1.0), TimesRunner("b", [], 1.0))
    context = {each.name: each.value for each in measured.context}
    assert context["launch_mode"] == "burst, new_process, a sandboxed process"
    assert context.keys() >= {"runtime_version", "rival_runtime_version"}
