"""What runs in the sandbox: a pass, a conversion, the judging of a file in a fresh process."""

import math
import resource
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distillfarm.compression import evaluation, registry, teaching
from distillfarm.compression.census import census
from distillfarm.compression.datasets import Samples, is_classes, load_for_passes, load_test
from distillfarm.compression.extras import missing
from distillfarm.compression.inference import open_model
from distillfarm.compression.packing import packed_bytes
from distillfarm.compression.protocols import (
    ExportRefused,
    PassRefused,
    WorkingModel,
    Workspace,
)
from distillfarm.compression.quality_detail import Compared, looked_into
from distillfarm.domain.errors import FarmError, MissingExtra
from distillfarm.domain.hardware import Target
from distillfarm.domain.interval import Interval
from distillfarm.domain.model import ModelFormat, Signature
from distillfarm.domain.variant import CurvePoint, PassSpec, Quality, QualityDetail

Report = Callable[[float, str], None]

FIXED_SAMPLES = 8
_KIBIBYTE = 1024
_MIN_TOLERANCE, _MAX_TOLERANCE, _ROUNDING_ROOM = 0.01, 0.1, 3.0
_TINY = 1e-30


@dataclass(frozen=True)
class ModelFile:
    """A model file and its format; ``path`` is text so that it can cross as JSON."""

    path: str
    format: ModelFormat

    def working(self) -> WorkingModel:
        """The same for passes and exporters."""
        return WorkingModel(Path(self.path), self.format)


@dataclass(frozen=True)
class Surroundings:
    """What every task needs to know; paths are text. ``folder`` is the task's own.

    ``checkpoints`` is empty for a task that keeps none.
    """

    folder: str
    cache: str
    data: str
    split_seed: int
    teacher: ModelFile
    seed: int
    threads: int
    evaluator: str = ""
    evaluator_function: str = ""
    student: str = ""
    student_function: str = ""
    checkpoints: str = ""

    def workspace(self, report: Report) -> Workspace:
        """The workspace of a pass or an exporter."""
        return Workspace(
            folder=Path(self.folder),
            cache=Path(self.cache),
            data=Path(self.data),
            split_seed=self.split_seed,
            teacher=self.teacher.working(),
            seed=self.seed,
            threads=self.threads,
            report=report,
            checkpoints=Path(self.checkpoints) if self.checkpoints else None,
            student=(Path(self.student), self.student_function) if self.student else None,
        )

    def metric(self) -> evaluation.Metric:
        """Accuracy, or the user's evaluator."""
        if not self.evaluator:
            return evaluation.Accuracy()
        return evaluation.user_metric(Path(self.evaluator), self.evaluator_function)


@dataclass(frozen=True)
class ApplyRequest:
    """Apply a pass to ``source``."""

    source: ModelFile
    spec: PassSpec
    around: Surroundings


@dataclass(frozen=True)
class ConvertRequest:
    """Write ``source`` in the format of the target's runtime."""

    source: ModelFile
    target: Target
    around: Surroundings


@dataclass(frozen=True)
class Made:
    """A new model file, with what making it cost and how far its answers are off, if compared."""

    model: ModelFile
    seconds: float
    peak_rss_bytes: int
    curve: tuple[CurvePoint, ...] = ()
    notes: tuple[str, ...] = ()
    max_abs_error: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class JudgeRequest:
    """Judge ``model``, made from ``source``, on the selection split.

    ``stand_in`` is asked for answers where ``model`` does not run on this computer.
    """

    model: ModelFile
    source: ModelFile
    around: Surroundings
    stand_in: ModelFile | None = None


@dataclass(frozen=True)
class Findings:
    """What is to be known of a file after a pass; parameters are 0 where they were not counted."""

    signature: Signature
    parameters: int
    before: tuple[str, ...]
    after: tuple[str, ...]
    quality: Quality
    reference: Quality
    drop: Interval
    baseline: float | None
    packed_before_bytes: int
    packed_after_bytes: int


@dataclass(frozen=True)
class ExamineRequest:
    """Examine an artifact for delivery; ``source`` marks the untouched source model.

    ``stand_in`` is asked for answers where ``model`` does not run on this computer.
    """

    model: ModelFile
    source: bool
    around: Surroundings
    stand_in: ModelFile | None = None


@dataclass(frozen=True)
class Examined:
    """An artifact's quality on both splits, and its fixed inputs and expected outputs.

    ``detail`` is None where the artifact itself was not run.
    """

    quality: Quality
    quality_drop: Interval
    test_quality: Quality
    test_drop: Interval
    inputs: str
    expected: str
    tolerance: float
    packed_bytes: int
    detail: QualityDetail | None = None


Request = ApplyRequest | ConvertRequest | JudgeRequest | ExamineRequest


def apply(request: ApplyRequest, report: Report) -> Made:
    """Apply a pass.

    Raises:
        PassRefused: it cannot be applied; the text names the pass.
    """
    started = time.monotonic()
    workspace = request.around.workspace(report)
    source = request.source.working()
    try:
        made = registry.compression_pass(request.spec.name).run(source, request.spec, workspace)
    except PassRefused as error:
        raise PassRefused(f"{request.spec}: refused: {error}") from error
    except (FarmError, MemoryError, OSError):
        raise
    except ImportError as error:
        raise missing(str(request.spec), error) from error
    except Exception as error:
        # Whatever a framework raises on somebody's model is the pass' failure, told by name; where
        # it was raised stands in the log.
        traceback.print_exc()
        raise PassRefused(f"{request.spec}: failed: {type(error).__name__}: {error}") from error
    return _made(made, started, curve=tuple(workspace.curve), notes=tuple(workspace.notes))


def convert(request: ConvertRequest, report: Report) -> Made:
    """Write a model in another format and compare the answers of both files.

    Raises:
        ExportRefused: the exporter cannot, or the file's answers have other names or shapes.
    """
    started = time.monotonic()
    workspace = request.around.workspace(report)
    source, target = request.source.working(), request.target
    exporter = registry.exporter(target.runtime)
    report(0.0, f"writing {exporter.format.value}")
    try:
        path = exporter.export(source, target, workspace)
    except (FarmError, MemoryError, OSError):
        raise
    except ImportError as error:
        raise missing(f"export for {target}", error) from error
    except Exception as error:
        # Exporters raise anything on an operator that they do not know.
        traceback.print_exc()
        raise ExportRefused(
            f"{source.format.value} to {exporter.format.value}: {type(error).__name__}: {error}"
        ) from error
    made = WorkingModel(path, exporter.format)
    report(0.8, "comparing answers")
    try:
        distance = exporter.verify(path, source, workspace)
    except MissingExtra as error:
        return _made(made, started, notes=tuple(workspace.notes), reason=str(error))
    return _made(made, started, notes=tuple(workspace.notes), max_abs_error=distance)


def judge(request: JudgeRequest, report: Report) -> Findings:
    """Load and run a file in this fresh process and compare it with the source model.

    Raises:
        ModelRejected: it does not load or run.
    """
    workspace = request.around.workspace(report)
    model, metric = request.model.working(), request.around.metric()
    report(0.0, "loading")
    asked = (request.stand_in or request.model).working()
    predictor = open_model(asked, workspace.threads)
    data = load_for_passes(workspace.data, predictor.signature, workspace.split_seed)
    selection, metric = _judged_by(data.selection, metric, workspace)
    outputs = predictor(selection.inputs, lambda done: report(0.7 * done, "judging"))
    reference = teaching.answers(
        workspace, selection, lambda done: report(0.7 + 0.3 * done, "asking the source")
    )
    return Findings(
        signature=predictor.signature,
        parameters=_parameters(model),
        before=census(request.source.working()),
        after=census(model),
        quality=metric.quality(outputs, selection.labels),
        reference=metric.quality(reference, selection.labels),
        drop=metric.drop(reference, outputs, selection.labels),
        baseline=None if request.around.evaluator else _baseline(selection),
        packed_before_bytes=packed_bytes(request.source.working().path),
        packed_after_bytes=packed_bytes(model.path),
    )


def examine(request: ExamineRequest, report: Report) -> Examined:
    """Judge an artifact on both splits and write what devices are checked against.

    The expected outputs are this very artifact's on this computer, with the runtime's graph
    optimisations and delegates turned off: a path that is not the one being measured. A device
    that runs the file correctly comes close to them whatever was lost in compressing, so they tell
    wrong plumbing (kernels, layouts, names, broken transfers) from a worse model. Outputs of the
    uncompressed model could not: every quantised file differs from it by design. What compressing
    lost is judged apart, by ``quality_drop``; that the export is right, at its conversion.

    Integer kernels round differently from one implementation to the next, each rounding one step
    of the output's scale. How much that is for this file is seen here between the plain and the
    optimised path; the tolerance leaves room for a few times that, and never less than 1 %. Integer
    kernels of ONNX Runtime overflow on some x86 processors: the expected outputs are the exact
    ones, which phones give, and the most tolerance is given for the others.

    Raises:
        ExportRefused: the two paths disagree so much that no tolerance would tell right from wrong.
    """
    workspace = request.around.workspace(report)
    model, metric = request.model.working(), request.around.metric()
    asked = (request.stand_in or request.model).working()
    predictor = open_model(asked, workspace.threads)
    arguments = (workspace.data, predictor.signature, workspace.split_seed)

    def ask(samples: Samples) -> Compared:
        answers = teaching.answers(workspace, samples)
        return Compared(samples, answers, predictor(samples.inputs), request.source)

    splits = load_for_passes(*arguments).selection, load_test(*arguments)
    judged: list[tuple[Quality, Interval]] = []
    for name, samples in zip(("selection", "test"), splits, strict=True):
        report(0.3 * len(judged), f"the {name} split")
        labelled, by = _judged_by(samples, metric, workspace)
        compared = ask(labelled)
        quality = by.quality(compared.after, labelled.labels)
        judged.append((quality, compared.drop(by)))
    detail = None
    if request.stand_in is None:
        report(0.6, "looking at parts and at shifted inputs")
        detail = looked_into(by, compared, predictor.signature, ask, workspace.split_seed)
    report(0.9, "fixed inputs")
    fixed = splits[0].take(slice(_whole_batches(predictor.signature)))
    inputs, expected = workspace.folder / "inputs.npz", workspace.folder / "expected.npz"
    np.savez(inputs, allow_pickle=False, **fixed.inputs)
    plain = open_model(asked, workspace.threads, plain=True)(fixed.inputs)
    np.savez(expected, allow_pickle=False, **plain)
    # What a runtime that is not here rounds differently cannot be seen here, nor what a processor
    # whose integers overflow makes of them.
    unseen = request.stand_in is not None or _differs_by_processor(asked)
    tolerance = _MAX_TOLERANCE if unseen else _tolerance(plain, predictor(fixed.inputs))
    return Examined(
        *judged[0],
        *judged[1],
        str(inputs),
        str(expected),
        tolerance,
        packed_bytes(model.path),
        detail,
    )


def _judged_by(
    samples: Samples, metric: evaluation.Metric, workspace: Workspace
) -> tuple[Samples, evaluation.Metric]:
    """Where the data have no labels, the source model's answers are, and the metric says so."""
    if samples.labelled:
        return samples, metric
    return teaching.labelled(workspace, samples), evaluation.against_source(metric)


def _differs_by_processor(model: WorkingModel) -> bool:
    if model.format is not ModelFormat.ONNX:
        return False
    from distillfarm.compression.predictors.onnx import has_integer_kernels

    return has_integer_kernels(model.path)


def _tolerance(plain: evaluation.Outputs, optimised: evaluation.Outputs) -> float:
    seen = 0.0
    for name, wanted in plain.items():
        difference = np.abs(wanted.astype(np.float64) - optimised[name].astype(np.float64))
        share = difference.max() / max(np.abs(wanted).max(), _TINY)
        seen = max(seen, float(share) if np.isfinite(share) else math.inf)
    if seen > _MAX_TOLERANCE:
        raise ExportRefused(
            f"the runtime's optimised kernels disagree with its plain ones by {seen:.0%} of the"
            " outputs' largest value on this computer; no device could be told right from wrong"
        )
    return min(_MAX_TOLERANCE, max(_MIN_TOLERANCE, _ROUNDING_ROOM * seen))


def _whole_batches(signature: Signature) -> int:
    batch = max(1, signature.inputs[0].shape[0])
    return batch * max(1, FIXED_SAMPLES // batch)


def _made(
    model: WorkingModel,
    started: float,
    *,
    curve: tuple[CurvePoint, ...] = (),
    notes: tuple[str, ...] = (),
    max_abs_error: float | None = None,
    reason: str = "",
) -> Made:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIBIBYTE
    file = ModelFile(str(model.path), model.format)
    return Made(file, time.monotonic() - started, peak, curve, notes, max_abs_error, reason)


def _parameters(model: WorkingModel) -> int:
    if model.format is not ModelFormat.TORCH_MODULE:
        return 0
    from distillfarm.compression import torch_models

    return torch_models.parameter_count(torch_models.read(model.path).module)


def _baseline(samples: Samples) -> float | None:
    if not is_classes(samples.labels):
        return None
    return float(np.bincount(samples.labels).max() / len(samples))
