"""A farm of stand-ins behind the real pipeline, queue and store, as processes that can be killed.

``python toy_farm.py controller|worker|compressor FOLDER`` runs one side until SIGTERM. The workshop
of the worker and the dispatcher do next to nothing, but at the pace and with the refusals that
FOLDER/toy.json says, and they write a line to FOLDER/log.txt for everything that they really do.
The compressor is a worker with the real workshop.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import farm_samples
import msgspec

from distillfarm.compression import worker as compression_worker
from distillfarm.compression.protocols import PassRefused
from distillfarm.compression.settings import WorkerSettings
from distillfarm.compression.worker import serve
from distillfarm.controller.settings import ControllerSettings
from distillfarm.controller.store.protocol import MeasurementQuery
from distillfarm.controller.store.sql import SqlStore
from distillfarm.controller.study_runner import DurableStudies
from distillfarm.domain.agent import JobResult
from distillfarm.domain.errors import Cancelled, NoCapacity
from distillfarm.domain.hardware import Chipset, Device, DeviceInfo, Target
from distillfarm.domain.ids import derived_id
from distillfarm.domain.interval import Interval
from distillfarm.domain.job import Job, JobRequest, JobState
from distillfarm.domain.measurement import ContextEntry, Energy, Measurement, Outcome
from distillfarm.domain.model import (
    Analysis,
    ArtifactRef,
    Dataset,
    ModelFormat,
    OperatorCount,
    Signature,
    SourceModel,
    TensorSpec,
)
from distillfarm.domain.variant import (
    Candidate,
    CurvePoint,
    Exported,
    PassOutcome,
    PassReport,
    PassSpec,
    Quality,
    Recipe,
    Variant,
)
from distillfarm.wire.blobs import LocalBlobs

_FINAL = 4
"""Launches of a first final measurement; see ``ToyProcesses.create``."""

Report = Callable[[float, str], None]
IsCancelled = Callable[[], bool]
SIGNATURE = Signature(
    (TensorSpec("x", "float32", (-1, 4)),), (TensorSpec("y", "float32", (-1, 2)),)
)


@dataclass(frozen=True)
class Toy:
    """How the stand-ins behave.

    ``pass_s`` and ``launch_s`` are how long they take; ``refuse`` the pass that is refused,
    ``fail_once`` the pass that fails the first time by the harness's fault, ``incorrect`` the
    recipe that answers wrongly on the device. With ``shaky`` the first final measurement of every
    artifact is disturbed. There are ``phones`` devices of the one chipset, of which that of the
    serial ``lost`` goes down for good after ``lost_after`` jobs. Beside them there are emulated
    ones of the chipsets ``stand_ins``, of which ``dies`` goes down for good in its second job.
    """

    pass_s: float = 0.0
    launch_s: float = 0.0
    ingest_s: float = 0.0
    refuse: str = ""
    fail_once: str = ""
    incorrect: str = ""
    shaky: bool = False
    freshness_s: float = 3600.0
    silence_s: float = 30.0
    phones: int = 1
    lost: str = ""
    lost_after: int = 0
    stand_ins: tuple[str, ...] = ()
    dies: str = ""


class ToyWorkshop:
    """Speaks Workshop's protocol; a variant is a text file with one line for each thing done."""

    def __init__(self, folder: Path, toy: Toy) -> None:
        self._folder = folder
        self._toy = toy
        self._blobs = LocalBlobs(folder / "blobs")

    def ingest(
        self, source: SourceModel, dataset: Dataset, *, report: Report, cancelled: IsCancelled
    ) -> Variant:
        self._work("ingest", self._toy.ingest_s, report, cancelled)
        return Variant(Recipe(), source.artifact, SIGNATURE, 1000)

    def analyse(
        self, variant: Variant, dataset: Dataset | None, *, report: Report, cancelled: IsCancelled
    ) -> Analysis:
        self._work("analyse", 0.0, report, cancelled)
        operators = (OperatorCount("Gemm", 2, 5000),)
        return Analysis(
            ModelFormat.ONNX, SIGNATURE, 4000, 1000, 5000, operators, ("float32",), ("Gemm 100 %",)
        )

    def apply(
        self,
        variant: Variant,
        spec: PassSpec,
        dataset: Dataset,
        teacher: Variant,
        seed: int,
        *,
        report: Report,
        cancelled: IsCancelled,
    ) -> Variant:
        log(self._folder, f"begin {variant.recipe}+{spec}")
        if spec.name == self._toy.fail_once and not (self._folder / "failed").exists():
            (self._folder / "failed").touch()
            raise NoCapacity("out of memory, this once")
        self._work(f"apply {variant.recipe}+{spec}", self._toy.pass_s, report, cancelled)
        if spec.name == self._toy.refuse:
            raise PassRefused(f"{spec.name}: operator Gemm cannot be done")
        content = self._blobs.path(variant.artifact.digest).read_bytes()
        shorter = content[: max(len(content) * 2 // 3, 8)] + f"\n{spec}".encode()
        digest = self._blobs.put_bytes(shorter)
        artifact = ArtifactRef(digest, len(shorter), ModelFormat.ONNX, "toy.onnx")
        done = PassReport(
            spec,
            PassOutcome.APPLIED,
            size_before_bytes=variant.artifact.size_bytes,
            size_after_bytes=len(shorter),
            parameters_before=variant.parameters,
            parameters_after=variant.parameters * 2 // 3,
            quality=Quality("accuracy", 0.88, 0.87, 0.89, 2000),
            curve=tuple(CurvePoint(each, 1.0 / (each + 1), 0.8 + each / 100) for each in range(5)),
            seconds=self._toy.pass_s,
            peak_rss_bytes=100_000_000,
        )
        return replace(
            variant,
            recipe=Recipe((*variant.recipe.passes, spec)),
            artifact=artifact,
            parameters=variant.parameters * 2 // 3,
            reports=(*variant.reports, done),
        )

    def convert(
        self,
        variant: Variant,
        target: Target,
        dataset: Dataset,
        teacher: Variant,
        seed: int,
        *,
        report: Report,
        cancelled: IsCancelled,
    ) -> Variant:
        self._work(f"convert {variant.recipe} {target}", 0.0, report, cancelled)
        return variant

    def export(
        self,
        variant: Variant,
        target: Target,
        dataset: Dataset,
        teacher: Variant,
        seed: int,
        *,
        report: Report,
        cancelled: IsCancelled,
    ) -> Exported:
        self._work(f"export {variant.recipe} {target}", 0.0, report, cancelled)
        lost = len(variant.recipe.passes) * 0.4
        quality = Quality("accuracy", 0.9 - lost / 100, 0.88 - lost / 100, 0.92 - lost / 100, 2000)
        drop = Interval(lost, lost - 0.3 if lost else 0.0, lost + 0.3 if lost else 0.0)
        return Exported(
            Candidate(variant.recipe, target),
            variant.artifact,
            variant.parameters,
            quality,
            drop,
            quality,
            drop,
            self._blobs.put_bytes(b"inputs"),
            self._blobs.put_bytes(b"expected"),
            1e-6,
            reports=variant.reports,
        )

    def _work(self, name: str, seconds: float, report: Report, cancelled: IsCancelled) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if cancelled():
                log(self._folder, f"cancelled {name}")
                raise Cancelled(f"{name} cancelled")
            report(1 - left / seconds, f"{name} epoch {int(10 * (1 - left / seconds))} of 10")
            time.sleep(0.05)
        log(self._folder, name)


class ToyDispatcher:
    """Speaks Dispatcher's protocol on made-up devices, through the real store."""

    def __init__(self, folder: Path, store: SqlStore, toy: Toy, os_build: str = "build-1") -> None:
        self._folder = folder
        self._store = store
        self._toy = toy
        self._os_build = os_build

    def measure(
        self,
        requests: Sequence[JobRequest],
        *,
        on_progress: Callable[[Sequence[Job]], None],
        cancelled: Callable[[], bool],
    ) -> list[Job]:
        jobs = [self._store.submit(each, time.time()) for each in requests]
        for index, job in enumerate(jobs):
            if not job.state.final:
                jobs[index] = self._run(job, cancelled)
            on_progress(jobs)
        return jobs

    def _run(self, job: Job, cancelled: Callable[[], bool]) -> Job:
        for _ in range(job.request.spec.launches):
            if cancelled():
                raise Cancelled("cancelled")
            time.sleep(self._toy.launch_s)
        device = self._device(job)
        if device is None:
            text = "waiting for a device that can run it: 1 offline; waited 600 s"
            return self._store.fail_job(job.job_id, text, time.time())
        # A lease of a controller that was killed ends when it expires; here at once.
        self._store.expire(time.time() + 1e6)
        (lease,) = self._store.grant([(job.job_id, device.device_id)], time.time(), 60.0)
        result = JobResult(lease, self._measurement(job, lease.token, device))
        finished = self._store.finish(result, time.time(), 3)
        log(self._folder, f"measure {job.request.idempotency_key}")
        return finished

    def _device(self, job: Job) -> Device | None:
        """The device that had the least to do, of those that the job means and that are up."""
        done = Counter(each.device_id for each in self._store.jobs([JobState.DONE]))
        up = [
            each
            for each in self._store.devices(job.request.selector)
            if not self._gone(each, done[each.device_id])
        ]
        return min(up, key=lambda each: done[each.device_id], default=None)

    def _gone(self, device: Device, jobs: int) -> bool:
        died = bool(self._toy.dies) and device.info.chipset.model == self._toy.dies
        lost = device.info.serial == self._toy.lost and jobs >= self._toy.lost_after
        return lost or (died and jobs > 0)

    def _measurement(self, job: Job, token: int, device: Device) -> Measurement:
        request = job.request
        size = request.artifact.size_bytes
        shake = 100 * size if self._disturbed(request) else 50
        launches = tuple(
            farm_samples.launch(100 * size + shake * number)
            for number in range(request.spec.launches)
        )
        wrong = self._toy.incorrect and size < int(self._toy.incorrect)
        return Measurement(
            derived_id("measurement", job.job_id, str(token)),
            job.job_id,
            device.device_id,
            request.artifact.digest,
            request.target,
            request.spec,
            Outcome.INCORRECT if wrong else Outcome.OK,
            "outputs differ by 0.5" if wrong else "",
            () if wrong else launches,
            Energy(reason="no meter"),
            (ContextEntry("os_build", self._os_build), ContextEntry("runtime_version", "1.30")),
            time.time(),
            1.0,
            emulated=device.info.emulated,
        )

    def _disturbed(self, request: JobRequest) -> bool:
        query = MeasurementQuery(artifact_digest=request.artifact.digest)
        before = [each for each in self._store.measurements(query) if len(each.launches) == _FINAL]
        return self._toy.shaky and request.spec.launches == _FINAL and not before


@dataclass(frozen=True)
class ToySettings:
    """Speaks StudySettings."""

    state_dir: Path
    workflow_database: str
    measurement_freshness_s: float
    worker_silence_s: float


def log(folder: Path, line: str) -> None:
    """Append a line to the log; atomic for lines as short as these."""
    with (folder / "log.txt").open("a") as file:
        file.write(f"{line}\n")


def lines(folder: Path) -> list[str]:
    """The log so far."""
    with contextlib.suppress(FileNotFoundError):
        return (folder / "log.txt").read_text().splitlines()
    return []


def store(folder: Path) -> SqlStore:
    """The store of a toy farm."""
    return SqlStore(f"sqlite:///{folder / 'farm.sqlite'}")


def devices(toy: Toy) -> list[DeviceInfo]:
    """The devices that are there."""
    stand_ins = [
        replace(farm_samples.device_info(name, emulated=True), chipset=Chipset("Acme", name))
        for name in toy.stand_ins
    ]
    phones = [farm_samples.device_info(f"phone-{each + 1}") for each in range(toy.phones)]
    return [*phones, *stand_ins]


def controller(folder: Path, stop: threading.Event) -> None:
    """Run the controller's study side; new studies in the store are started as they appear."""
    toy = msgspec.json.decode((folder / "toy.json").read_bytes(), type=Toy)
    database = store(folder)
    database.report_devices("agent-1", devices(toy), time.time())
    settings = ToySettings(
        folder,
        ControllerSettings(state_dir=folder).workflow_database,
        toy.freshness_s,
        toy.silence_s,
    )
    studies = DurableStudies(
        database, LocalBlobs(folder / "blobs"), ToyDispatcher(folder, database, toy), settings
    )
    studies.launch()
    log(folder, "controller up")
    seen: set[str] = set()
    while not stop.wait(0.1):
        for study in database.studies():
            cancel = folder / f"cancel-{study.study_id}"
            if study.study_id not in seen:
                studies.start(study.study_id)
                seen.add(study.study_id)
            elif cancel.exists():
                cancel.unlink()
                studies.cancel(study.study_id)
    studies.shutdown()


def worker(folder: Path, stop: threading.Event) -> None:
    """Run the real worker around the toy workshop."""
    toy = msgspec.json.decode((folder / "toy.json").read_bytes(), type=Toy)
    name = os.environ.get("TOY_WORKER", "worker-1")
    serve(WorkerSettings(name=name, state_dir=folder), ToyWorkshop(folder, toy), stop)


def compressor(folder: Path, stop: threading.Event) -> None:
    """Run the real worker around the real workshop."""
    compression_worker.main(WorkerSettings(name=os.environ["TOY_WORKER"], state_dir=folder), stop)


def main() -> None:
    """Run the side that the command line names."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    sides = {"controller": controller, "worker": worker, "compressor": compressor}
    sides[sys.argv[1]](Path(sys.argv[2]), stop)


if __name__ == "__main__":
    main()
