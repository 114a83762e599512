"""Every piece of work on a model, each in a sandboxed process of its own."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from distillfarm.compression import gate, ingest, registry, tasks, teaching
from distillfarm.compression.inference import RUNNABLE
from distillfarm.compression.passlog import PassLog
from distillfarm.compression.protocols import ExportRefused, PassRefused
from distillfarm.compression.unfinished import Unfinished
from distillfarm.compression.workflows import ApplyPass, request_id
from distillfarm.domain.errors import InvalidRequest, ModelRejected
from distillfarm.domain.hardware import Target
from distillfarm.domain.ids import digest_bytes
from distillfarm.domain.model import Analysis, ArtifactRef, Dataset, ModelFormat, SourceModel
from distillfarm.domain.variant import (
    Candidate,
    Exported,
    PassOutcome,
    PassReport,
    PassSpec,
    Recipe,
    Variant,
)
from distillfarm.sandbox import tasks as sandbox
from distillfarm.sandbox.errors import TaskCrashed, TaskOutOfMemory
from distillfarm.sandbox.limits import Limits
from distillfarm.wire.blobs import BlobStore

Report = Callable[[float, str], None]
Cancelled = Callable[[], bool]
Result = TypeVar("Result")

CONVERSION = "convert"
_JUDGING_SHARE = 0.15
# The same request would end so again; whatever else ends it, another attempt may go on.
_FINAL = (PassRefused, InvalidRequest)
_SUFFIXES = {ModelFormat.TORCH_MODULE: "zip", ModelFormat.TORCH_EXPORT: "pt2"}


class Workshop:
    """Ingests, analyses, compresses and exports models; synchronous.

    ``folder`` holds one folder for each piece of work while it lasts, and a cache of the source
    models' answers. ``unfinished`` holds the checkpoints of passes that were interrupted; without
    it they lie in ``folder`` too. Every method reports (done 0..1, text) and ends with
    ``Cancelled`` soon after ``cancelled`` says so. A process that crashed or passed a limit comes
    out as ``TaskDied``.
    """

    def __init__(
        self,
        blobs: BlobStore,
        folder: Path,
        limits: Limits,
        threads: int = 1,
        *,
        gate_limits: gate.GateLimits | None = None,
        unfinished: Path | None = None,
    ) -> None:
        self._blobs = blobs
        self._folder = folder.resolve()
        self._limits = limits
        self._threads = threads
        self._gate_limits = gate_limits or gate.GateLimits()
        self._cache = self._folder / "cache"
        self._cache.mkdir(parents=True, exist_ok=True)
        self._unfinished = Unfinished(unfinished or self._folder / "unfinished")

    def ingest(
        self,
        source: SourceModel,
        dataset: Dataset,
        *,
        report: Report = sandbox.ignore_progress,
        cancelled: Cancelled = sandbox.never_cancelled,
    ) -> Variant:
        """The source model in the form that passes take, with an empty recipe.

        Raises:
            ModelRejected: it is hostile, damaged or of an unknown format.
        """
        factory = source.factory_digest
        with tempfile.TemporaryDirectory(dir=self._folder, prefix="work-") as scratch:
            request = ingest.IngestRequest(
                path=str(self._blobs.path(source.artifact.digest)),
                folder=scratch,
                factory=str(self._blobs.path(factory)) if factory else "",
                factory_function=source.factory_function,
                data=str(self._blobs.path(dataset.digest)),
                threads=self._threads,
            )
            found = ingest.take_in(request, limits=self._limits, report=report, cancelled=cancelled)
            return Variant(
                recipe=Recipe(),
                artifact=self._keep(tasks.ModelFile(found.path, found.format), Recipe()),
                signature=found.signature,
                parameters=found.parameters,
                student_digest=source.student_digest,
                student_function=source.student_function,
            )

    def analyse(
        self,
        variant: Variant,
        dataset: Dataset | None = None,
        *,
        report: Report = sandbox.ignore_progress,
        cancelled: Cancelled = sandbox.never_cancelled,
    ) -> Analysis:
        """What a variant is made of and how long its layers take; with data, what each minds."""
        file = self._file(variant)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix="work-") as scratch:
            return sandbox.run(
                "distillfarm.compression.ingest:analyse",
                _question(file, dataset, self._blobs, self._threads),
                Analysis,
                limits=self._limits,
                folder=Path(scratch),
                report=report,
                cancelled=cancelled,
            )

    def apply(
        self,
        variant: Variant,
        spec: PassSpec,
        dataset: Dataset,
        teacher: Variant,
        seed: int,
        *,
        report: Report = sandbox.ignore_progress,
        cancelled: Cancelled = sandbox.never_cancelled,
    ) -> Variant:
        """``variant`` after the pass ``spec``, gated.

        Raises:
            PassRefused: the pass cannot be applied, failed, changed nothing or destroyed the
                model; the text names the pass and the outcome.
            InvalidRequest: an unknown pass or setting, or data that do not fit the model.
        """
        each = registry.compression_pass(spec.name)
        each.check(spec)
        source = self._file(variant)
        asked = ApplyPass(variant, spec, dataset, teacher, seed)
        log = PassLog(f"{spec} on {variant.recipe}", report)
        with (
            self._unfinished.work(request_id(asked), _FINAL) as checkpoints,
            self._logged(log),
            self._around(dataset, teacher, seed, checkpoints) as around,
        ):
            made = self._run(
                "apply",
                tasks.ApplyRequest(source, spec, around),
                tasks.Made,
                _share(log, 0.0, 1 - _JUDGING_SHARE, str(spec)),
                cancelled,
                log.wrote,
            )
            _tell(log, made)
            findings = self._judge(
                spec,
                tasks.JudgeRequest(made.model, source, around, self._stand_in(variant)),
                log,
                cancelled,
            )
            size = Path(made.model.path).stat().st_size
            change = gate.Change(
                size_before_bytes=variant.artifact.size_bytes,
                size_after_bytes=size,
                packed_before_bytes=findings.packed_before_bytes,
                packed_after_bytes=findings.packed_after_bytes,
                parameters_before=variant.parameters,
                parameters_after=findings.parameters or variant.parameters,
                before=findings.before,
                after=findings.after,
                quality=findings.quality,
                reference=findings.reference,
                drop=findings.drop,
                baseline=findings.baseline,
            )
            judgement = gate.judge(change, each.promise, self._gate_limits)
            log.say(f"{judgement.outcome.value} {judgement.reason}")
            gate.refuse(spec, judgement, made.notes)
            entry = PassReport(
                spec=spec,
                outcome=judgement.outcome,
                reason=judgement.reason,
                size_before_bytes=change.size_before_bytes,
                size_after_bytes=change.size_after_bytes,
                parameters_before=change.parameters_before,
                parameters_after=change.parameters_after,
                quality=None if variant.runnable else findings.quality,
                curve=made.curve,
                seconds=made.seconds,
                peak_rss_bytes=made.peak_rss_bytes,
                packed_before_bytes=change.packed_before_bytes,
                packed_after_bytes=change.packed_after_bytes,
                notes=made.notes,
                log_digest=self._blobs.put_bytes(log.text()),
            )
            recipe = Recipe((*variant.recipe.passes, spec))
            return replace(
                variant,
                recipe=recipe,
                artifact=self._keep(made.model, recipe),
                parameters=change.parameters_after,
                reports=(*variant.reports, entry),
            )

    def convert(
        self,
        variant: Variant,
        target: Target,
        dataset: Dataset,
        teacher: Variant,
        seed: int,
        *,
        report: Report = sandbox.ignore_progress,
        cancelled: Cancelled = sandbox.never_cancelled,
    ) -> Variant:
        """``variant`` in the format of the target's runtime; the recipe stays as it is.

        Raises:
            ExportRefused: it cannot be written so, or the file's answers differ in name or shape.
        """
        log = PassLog(f"{CONVERSION} of {variant.recipe} for {target}", report)
        with self._logged(log), self._around(dataset, teacher, seed) as around:
            made = self._run(
                "convert",
                tasks.ConvertRequest(self._file(variant), target, around),
                tasks.Made,
                _share(log, 0.0, 1.0, f"export for {target}"),
                cancelled,
                log.wrote,
            )
            _tell(log, made)
            entry = PassReport(
                spec=PassSpec(CONVERSION),
                outcome=PassOutcome.APPLIED,
                reason=made.reason,
                size_before_bytes=variant.artifact.size_bytes,
                size_after_bytes=Path(made.model.path).stat().st_size,
                parameters_before=variant.parameters,
                parameters_after=variant.parameters,
                max_abs_error=made.max_abs_error,
                seconds=made.seconds,
                peak_rss_bytes=made.peak_rss_bytes,
                notes=made.notes,
                log_digest=self._blobs.put_bytes(log.text()),
            )
            return replace(
                variant,
                artifact=self._keep(made.model, variant.recipe),
                reports=(*variant.reports, entry),
                runnable=None if made.model.format in RUNNABLE else variant.artifact,
            )

    def export(
        self,
        variant: Variant,
        target: Target,
        dataset: Dataset,
        teacher: Variant,
        seed: int,
        *,
        report: Report = sandbox.ignore_progress,
        cancelled: Cancelled = sandbox.never_cancelled,
    ) -> Exported:
        """``variant`` as an artifact for ``target``, judged on both splits.

        A variant that is not yet in the runtime's format is converted first.

        Raises:
            ExportRefused: see ``convert``; or the file does not run on this computer.
        """
        if variant.artifact.format is not registry.exporter(target.runtime).format:
            half = _share(report, 0.0, 0.5, "")
            variant = self.convert(
                variant, target, dataset, teacher, seed, report=half, cancelled=cancelled
            )
            report = _share(report, 0.5, 1.0, "")
        untouched = not variant.recipe.passes
        log = PassLog(f"judging {variant.recipe} for {target}", report)
        with self._logged(log), self._around(dataset, teacher, seed) as around:
            try:
                found = self._run(
                    "examine",
                    tasks.ExamineRequest(
                        self._file(variant), untouched, around, self._stand_in(variant)
                    ),
                    tasks.Examined,
                    _share(log, 0.0, 1.0, f"judging for {target}"),
                    cancelled,
                    log.wrote,
                )
            except (ModelRejected, TaskCrashed) as error:
                raise ExportRefused(f"the file for {target} does not run: {error}") from error
            return Exported(
                candidate=Candidate(variant.recipe, target),
                artifact=variant.artifact,
                parameters=variant.parameters,
                quality=found.quality,
                quality_drop=found.quality_drop,
                test_quality=found.test_quality,
                test_drop=found.test_drop,
                inputs_digest=self._blobs.put_file(Path(found.inputs)),
                expected_digest=self._blobs.put_file(Path(found.expected)),
                tolerance=found.tolerance,
                max_abs_error=_max_abs_error(variant, teacher),
                unverified=_unverified(variant),
                reports=variant.reports,
                packed_bytes=found.packed_bytes,
                detail=found.detail,
            )

    def _judge(
        self,
        spec: PassSpec,
        request: tasks.JudgeRequest,
        log: PassLog,
        cancelled: Cancelled,
    ) -> tasks.Findings:
        try:
            return self._run(
                "judge",
                request,
                tasks.Findings,
                _share(log, 1 - _JUDGING_SHARE, 1.0, str(spec)),
                cancelled,
                log.wrote,
            )
        except (ModelRejected, TaskCrashed, TaskOutOfMemory) as error:
            raise PassRefused(
                f"{spec}: {PassOutcome.DESTROYED.value}: the result does not load and run in a"
                f" fresh process: {error}"
            ) from error

    def _file(self, variant: Variant) -> tasks.ModelFile:
        return self._stored(variant.artifact)

    def _stand_in(self, variant: Variant) -> tasks.ModelFile | None:
        return self._stored(variant.runnable) if variant.runnable else None

    def _stored(self, artifact: ArtifactRef) -> tasks.ModelFile:
        return tasks.ModelFile(str(self._blobs.path(artifact.digest)), artifact.format)

    def _keep(self, model: tasks.ModelFile, recipe: Recipe) -> ArtifactRef:
        path = Path(model.path)
        size = path.stat().st_size
        suffix = _SUFFIXES.get(model.format, model.format.value)
        # The recipe in short: its text may be longer than a file name can be.
        name = f"{digest_bytes(str(recipe).encode())[7:15]}.{suffix}"
        return ArtifactRef(self._blobs.put_file(path), size, model.format, name)

    @contextmanager
    def _around(
        self, dataset: Dataset, teacher: Variant, seed: int, checkpoints: Path | None = None
    ) -> Iterator[tasks.Surroundings]:
        """A scratch folder that is gone afterwards; fresh answers of the teacher are kept."""
        evaluator, student = dataset.evaluator_digest, teacher.student_digest
        with tempfile.TemporaryDirectory(dir=self._folder, prefix="work-") as scratch:
            folder = Path(scratch)
            yield tasks.Surroundings(
                folder=scratch,
                cache=str(self._cache),
                data=str(self._blobs.path(dataset.digest)),
                split_seed=dataset.seed,
                teacher=self._file(teacher),
                seed=seed,
                threads=self._threads,
                evaluator=str(self._blobs.path(evaluator)) if evaluator else "",
                evaluator_function=dataset.evaluator_function,
                student=str(self._blobs.path(student)) if student else "",
                student_function=teacher.student_function,
                checkpoints=str(checkpoints) if checkpoints else "",
            )
            for fresh in (folder / teaching.CACHE_FOLDER).glob("*.npz"):
                shutil.move(fresh, self._cache / fresh.name)

    @contextmanager
    def _logged(self, log: PassLog) -> Iterator[None]:
        """A refusal within carries the log of what led to it."""
        try:
            yield
        except (PassRefused, ExportRefused) as error:
            log.say(str(error))
            error.log_digest = self._blobs.put_bytes(log.text())
            raise

    def _run(  # noqa: PLR0917
        self,
        task: str,
        request: tasks.Request,
        result_type: type[Result],
        report: Report,
        cancelled: Cancelled,
        wrote: Callable[[str], None] = sandbox.ignore_words,
    ) -> Result:
        return sandbox.run(
            f"distillfarm.compression.tasks:{task}",
            request,
            result_type,
            limits=self._limits,
            folder=Path(request.around.folder),
            report=report,
            cancelled=cancelled,
            writable=[Path(each) for each in (request.around.checkpoints,) if each],
            wrote=wrote,
        )


def _question(
    file: tasks.ModelFile, dataset: Dataset | None, blobs: BlobStore, threads: int
) -> ingest.AnalyseRequest:
    if dataset is None:
        return ingest.AnalyseRequest(file.path, file.format, threads)
    evaluator = dataset.evaluator_digest
    return ingest.AnalyseRequest(
        file.path,
        file.format,
        threads,
        data=str(blobs.path(dataset.digest)),
        split_seed=dataset.seed,
        evaluator=str(blobs.path(evaluator)) if evaluator else "",
        evaluator_function=dataset.evaluator_function,
    )


def _tell(log: PassLog, made: tasks.Made) -> None:
    for note in made.notes:
        log.say(f"note: {note}")
    log.curve(made.curve)


def _conversion(variant: Variant) -> PassReport | None:
    return next((each for each in variant.reports if each.spec.name == CONVERSION), None)


def _max_abs_error(variant: Variant, teacher: Variant) -> float | None:
    """0 for the source's own format; None where a pass wrote the format, or nothing compared."""
    conversion = _conversion(variant)
    if conversion is not None:
        return conversion.max_abs_error
    return 0.0 if variant.artifact.format is teacher.artifact.format else None


def _unverified(variant: Variant) -> str:
    """Why a file's answers were not looked at, and what its qualities are then those of."""
    conversion = _conversion(variant)
    if conversion is None or not conversion.reason:
        return ""
    position = variant.reports.index(conversion)
    later = [str(each.spec) for each in variant.reports[position + 1 :]]
    without = f", before {'+'.join(later)}" if later else ""
    return f"{conversion.reason}; quality is that of the model before the export{without}"


def _share(report: Report, start: float, end: float, prefix: str) -> Report:
    """``report`` for a part of the work, with what it is about before the text."""

    def part(done: float, text: str) -> None:
        report(start + (end - start) * done, f"{prefix}: {text}" if prefix else text)

    return part
