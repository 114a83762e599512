"""What every ``Runner`` promises."""

import asyncio
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path

import psutil
import pytest
from launches import GOLDEN, info, request

from distillfarm.agent.drivers.host.driver import HostDriver
from distillfarm.agent.protocols import (
    DeviceDriver,
    Launched,
    LaunchFailure,
    Prepared,
    Runner,
    ToolRan,
)
from distillfarm.agent.runners.litert import LitertRunner
from distillfarm.agent.runners.onnxruntime import OnnxRuntimeRunner
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.job import ColdStart, JobRequest
from distillfarm.domain.measurement import Outcome


class RunnerConformance:
    """Subclasses give ``runner``, a target that works here, a good model and a broken one."""

    target: str
    model: Path
    broken: Path

    @pytest.fixture
    def runner(self) -> Runner:
        raise NotImplementedError

    @pytest.fixture
    def driver(self, tmp_path: Path) -> DeviceDriver:
        return HostDriver(tmp_path / "agent" / "host", memory_bytes=2 << 30)

    @pytest.fixture
    def job(self) -> tuple[JobRequest, Mapping[str, Path]]:
        return request(self.model, self.target)

    def test_takes_a_target_that_the_probe_found(self, runner: Runner) -> None:
        assert runner.refusal(info(self.target), parse_target(self.target)) is None

    def test_refuses_a_target_that_the_probe_did_not_find(self, runner: Runner) -> None:
        reason = runner.refusal(info("coreml"), parse_target(self.target))
        assert reason
        assert self.target in reason

    async def test_gives_a_launch_with_raw_samples_and_evidence(
        self, runner: Runner, driver: DeviceDriver, job: tuple[JobRequest, Mapping[str, Path]]
    ) -> None:
        result = await one_launch(runner, driver, *job)
        assert isinstance(result, Launched)
        launch, spec = result.launch, job[0].spec
        assert len(launch.samples_ns) == spec.iterations
        assert len(launch.warmup_ns) <= spec.max_warmup
        assert all(each > 0 for each in (*launch.samples_ns, *launch.warmup_ns))
        assert sum(each.nodes for each in launch.placements) > 0
        assert launch.memory.peak_bytes >= launch.memory.baseline_bytes > 0
        assert launch.max_abs_error is None
        if result.window is not None:
            seconds = result.window.end_s - result.window.begin_s
            assert sum(launch.samples_ns) / 1e9 <= seconds < 20
            assert result.window.inferences == len(launch.samples_ns)

    async def test_the_budget_of_time_ends_sampling_after_ten(
        self, runner: Runner, driver: DeviceDriver
    ) -> None:
        job = request(self.model, self.target, iterations=10**6, max_sampling_s=0.0)
        result = await one_launch(runner, driver, *job)
        assert isinstance(result, Launched)
        assert 10 <= len(result.launch.samples_ns) < 1000

    @pytest.mark.parametrize("kind", list(ColdStart))
    async def test_a_launch_is_as_cold_as_it_was_ordered(
        self, runner: Runner, driver: DeviceDriver, kind: ColdStart
    ) -> None:
        result = await one_launch(
            runner, driver, *request(self.model, self.target, cold_start=kind)
        )
        assert isinstance(result, Launched)
        assert result.launch.cold_start is kind
        stayed = result.launch.page_cache_resident
        if kind is ColdStart.NEW_PROCESS:
            assert stayed is None
        else:
            assert stayed is None or 0 <= stayed <= 1

    async def test_a_broken_model_is_refused_with_a_reason(
        self, runner: Runner, driver: DeviceDriver
    ) -> None:
        result = await one_launch(runner, driver, *request(self.broken, self.target))
        assert isinstance(result, LaunchFailure)
        assert result.outcome is Outcome.REFUSED
        assert result.reason
        assert "\n" not in result.reason

    async def test_cancelling_a_launch_leaves_nothing_running(
        self, runner: Runner, driver: DeviceDriver
    ) -> None:
        job, files = request(self.model, self.target, iterations=10**7, max_sampling_s=1e6)
        async with driver:
            prepared = await runner.prepare(driver, job, files)
            launch = asyncio.create_task(runner.launch(driver, job, prepared))
            async with asyncio.timeout(20):
                while not psutil.Process().children(recursive=True):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            await asyncio.sleep(0.5)
            launch.cancel()
            with pytest.raises(asyncio.CancelledError):
                await launch
            assert psutil.Process().children(recursive=True) == []
            await runner.clean(driver, prepared)

    async def test_cleaning_can_be_repeated(self, runner: Runner, driver: DeviceDriver) -> None:
        async with driver:
            for _ in range(2):
                await runner.clean(driver, Prepared("nothing"))


async def one_launch(
    runner: Runner, driver: DeviceDriver, job: JobRequest, files: Mapping[str, Path]
) -> Launched | ToolRan | LaunchFailure:
    async with driver:
        prepared = await runner.prepare(driver, job, files)
        try:
            return await runner.launch(driver, job, prepared)
        finally:
            await runner.clean(driver, prepared)


class TestOnnxRuntimeRunner(RunnerConformance):
    target = "onnxruntime/cpu"
    model = GOLDEN / "cnn.onnx"
    broken = GOLDEN / "cnn.tflite"

    @pytest.fixture
    def runner(self) -> Runner:
        return OnnxRuntimeRunner()


class TestLitertRunner(RunnerConformance):
    target = "litert/xnnpack"
    model = GOLDEN / "cnn.tflite"
    broken = GOLDEN / "cnn.onnx"

    @pytest.fixture
    def runner(self) -> Runner:
        return LitertRunner()


class TestLitertRunnerWithoutDelegate(TestLitertRunner):
    target = "litert/none"


def test_every_registered_runner_is_tested_here() -> None:
    tested = {"onnxruntime", "litert"}
    assert {each.name for each in entry_points(group="distillfarm.runners")} == tested
