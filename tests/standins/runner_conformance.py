"""What every ``Runner`` promises, for whoever has a device to prove it on."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import psutil
import pytest
from adbutils import AdbDevice
from launches import GOLDEN, info, request

from distillfarm.agent.drivers.android import shell
from distillfarm.agent.drivers.android.driver import JOBS
from distillfarm.agent.protocols import (
    DeviceDriver,
    Launched,
    LaunchFailure,
    Prepared,
    Runner,
    ToolRan,
)
from distillfarm.agent.runners.coreai import CoreAiRunner
from distillfarm.agent.runners.litert import LitertRunner
from distillfarm.agent.runners.onnxruntime import OnnxRuntimeRunner
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.job import MOST_KEPT, ColdStart, JobRequest, Mode
from distillfarm.domain.measurement import Outcome

Save = Callable[..., None]
IMAGES = np.random.default_rng(3).standard_normal((3, 1, 28, 28)).astype(np.float32)


def logits() -> np.ndarray:
    """What the network answers to IMAGES, from ONNX Runtime in this process."""
    session = onnxruntime.InferenceSession(GOLDEN / "cnn.onnx")
    return session.run(None, {"image": IMAGES})[0]  # type: ignore[no-any-return]


class RunnerConformance:
    """Subclasses give ``runner``, ``driver``, a target that works there and models for it.

    ``model`` is the network of ``launch_models``, ``broken`` no model of this runtime. ``size``
    are settings of a measurement that the device is quick enough for.
    """

    target: str
    model: Path
    broken: Path
    tells_placements = True
    size: Mapping[str, float] = {}

    @pytest.fixture
    def runner(self) -> Runner:
        raise NotImplementedError

    @pytest.fixture
    def driver(self) -> DeviceDriver:
        raise NotImplementedError

    def running(self) -> bool:
        """Whether anything that a launch started runs on the device."""
        raise NotImplementedError

    @pytest.fixture
    def job(self) -> tuple[JobRequest, Mapping[str, Path]]:
        return request(self.model, self.target, None, None, **self.size)

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
        assert (sum(each.nodes for each in launch.placements) > 0) is self.tells_placements
        assert launch.memory.peak_bytes >= launch.memory.baseline_bytes > 0
        assert launch.max_abs_error is None
        assert launch.inferences == len(launch.samples_ns)
        assert launch.sampling_s >= sum(launch.samples_ns) / 1e9
        if result.window is not None:
            seconds = result.window.end_s - result.window.begin_s
            assert sum(launch.samples_ns) / 1e9 <= seconds < spec.max_sampling_s + 20
            assert result.window.inferences == len(launch.samples_ns)

    async def test_the_budget_of_time_ends_sampling_after_ten(
        self, runner: Runner, driver: DeviceDriver
    ) -> None:
        job = request(self.model, self.target, iterations=10**6, max_sampling_s=0.0)
        result = await one_launch(runner, driver, *job)
        assert isinstance(result, Launched)
        assert 10 <= len(result.launch.samples_ns) < 1000

    async def test_a_sustained_launch_infers_until_its_time_is_over(
        self, runner: Runner, driver: DeviceDriver
    ) -> None:
        long = {**self.size, "mode": Mode.SUSTAINED, "duration_s": 1.5, "max_sampling_s": 0.0}
        job = request(self.model, self.target, None, None, **long)
        result = await one_launch(runner, driver, *job)
        assert isinstance(result, Launched)
        launch = result.launch
        assert launch.sampling_s >= 1.5
        assert launch.inferences >= 10
        assert min(launch.inferences, MOST_KEPT / 2) <= len(launch.samples_ns) <= MOST_KEPT
        # Evenly spread, so that what was kept stands for all: back to back they fill the time.
        typical_s = sum(launch.samples_ns) / len(launch.samples_ns) / 1e9
        assert 0.5 * launch.sampling_s < typical_s * launch.inferences < 1.2 * launch.sampling_s
        if result.window is not None:
            assert result.window.inferences == launch.inferences

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

    async def test_right_answers_pass_with_their_error_from_compressed_arrays_too(
        self, runner: Runner, driver: DeviceDriver, tmp_path: Path
    ) -> None:
        job = self.compared(tmp_path, np.savez_compressed, logits())
        result = await one_launch(runner, driver, *job)
        assert isinstance(result, Launched)
        assert result.launch.max_abs_error is not None
        assert result.launch.max_abs_error < 1e-4

    async def test_a_wrong_answer_is_incorrect_and_keeps_its_launch(
        self, runner: Runner, driver: DeviceDriver, tmp_path: Path
    ) -> None:
        wrong = logits()
        wrong[1, 4] += np.abs(wrong).max() / 2
        result = await one_launch(runner, driver, *self.compared(tmp_path, np.savez, wrong))
        assert isinstance(result, LaunchFailure)
        assert result.outcome is Outcome.INCORRECT
        assert "is up to" in result.reason
        assert result.launch is not None
        assert result.launch.samples_ns

    async def test_fixed_inputs_that_are_none_are_the_callers_mistake(
        self, runner: Runner, driver: DeviceDriver, tmp_path: Path
    ) -> None:
        (tmp_path / "inputs.npz").write_bytes(b"no zip at all")
        job = request(self.model, self.target, inputs=tmp_path / "inputs.npz")
        with pytest.raises(InvalidRequest, match="fixed arrays cannot be read"):
            await one_launch(runner, driver, *job)

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
                while not self.running():  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            await asyncio.sleep(0.5)
            launch.cancel()
            with pytest.raises(asyncio.CancelledError):
                await launch
            assert not self.running()
            await runner.clean(driver, prepared)

    async def test_cleaning_can_be_repeated(self, runner: Runner, driver: DeviceDriver) -> None:
        async with driver:
            for _ in range(2):
                await runner.clean(driver, Prepared("nothing"))

    def compared(
        self, folder: Path, save: Save, expected: np.ndarray
    ) -> tuple[JobRequest, Mapping[str, Path]]:
        """A job with IMAGES as fixed inputs and ``expected`` as the reference."""
        channels_last = self.model.suffix == ".tflite"
        save(folder / "inputs.npz", image=IMAGES.transpose(0, 2, 3, 1) if channels_last else IMAGES)
        save(folder / "expected.npz", logits=expected)
        return request(
            self.model,
            self.target,
            inputs=folder / "inputs.npz",
            expected=folder / "expected.npz",
            **self.size,
        )


async def one_launch(
    runner: Runner, driver: DeviceDriver, job: JobRequest, files: Mapping[str, Path]
) -> Launched | ToolRan | LaunchFailure:
    async with driver:
        prepared = await runner.prepare(driver, job, files)
        try:
            return await runner.launch(driver, job, prepared)
        finally:
            await runner.clean(driver, prepared)


class OnnxRuntimeConformance(RunnerConformance):
    target = "onnxruntime/cpu"
    model = GOLDEN / "cnn.onnx"
    broken = GOLDEN / "cnn.tflite"

    @pytest.fixture
    def runner(self) -> Runner:
        return OnnxRuntimeRunner()


class LitertConformance(RunnerConformance):
    target = "litert/xnnpack"
    model = GOLDEN / "cnn.tflite"
    broken = GOLDEN / "cnn.onnx"

    @pytest.fixture
    def runner(self) -> Runner:
        return LitertRunner()


class CoreAiConformance(RunnerConformance):
    target = "coreai/cpu_only"
    model = GOLDEN / "cnn.aimodel.tar"
    broken = GOLDEN / "cnn.onnx"
    tells_placements = False

    @pytest.fixture
    def runner(self) -> Runner:
        return CoreAiRunner()


class OnHost(RunnerConformance):
    """Where the agent's own children are what runs."""

    def running(self) -> bool:
        return bool(psutil.Process().children(recursive=True))


class OnPhone(RunnerConformance):
    """Where the phone is asked what runs; the fixture ``device`` is the phone for adbutils."""

    @pytest.fixture(autouse=True)
    def _keep_device(self, device: AdbDevice) -> None:
        self.adb_device = device

    def running(self) -> bool:
        # As the jobs are marked themselves; what searches is not among them.
        search = f"grep -lszF DISTILLFARM_JOB={JOBS}/ /proc/[0-9]*/environ"
        return bool(shell.run(self.adb_device, search).text)
