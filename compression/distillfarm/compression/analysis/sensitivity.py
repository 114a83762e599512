"""How much each layer minds each technique: the model with this one layer treated, on real data.

Nothing is trained afterwards, so pruning and factorisation look worse here than they end up; what
counts is the order of the layers, and which of them to leave alone (HAWQ, Dong et al., ICCV 2019,
and ZeroQ, Cai et al., CVPR 2020, choose bit widths by the same kind of measure).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from distillfarm.compression.analysis.layers import MAX_NAME_CHARACTERS, Layer
from distillfarm.compression.analysis.treatments import WEIGHTS
from distillfarm.compression.datasets import Samples, is_classes, load_for_passes
from distillfarm.compression.evaluation import Metric, Outputs, as_labels
from distillfarm.compression.protocols import WorkingModel
from distillfarm.domain.model import ModelFormat, Sensitivity, Signature
from distillfarm.sandbox.text import one_line

Report = Callable[[float, str], None]

FEWEST_SAMPLES, SAMPLES = 32, 256
MAX_LAYERS = 40
SECONDS = 60.0
_EDITORS = {
    ModelFormat.KERAS: "keras_edits",
    ModelFormat.ONNX: "onnx_edits",
    ModelFormat.TFLITE: "tflite_edits",
    ModelFormat.TORCH_EXPORT: "torch_edits",
    ModelFormat.TORCH_MODULE: "torch_edits",
}
# Of all samples together, for one layer and technique: some seconds on one thread.
_MACS = 20_000_000_000
_TINY = 1e-12
_CLOSE = 1e-3
# What stands for a divergence of an answer that is no number; JSON knows no infinity.
_BEYOND = 1e9


@dataclass(frozen=True)
class Question:
    """On which data to ask, and by what to judge the answers."""

    data: Path
    split_seed: int
    metric: Metric


@dataclass(frozen=True)
class Sensitivities:
    """What was found, and in words what was left out or missing; empty when nothing was."""

    found: tuple[Sensitivity, ...]
    left_out: str = ""


@dataclass(frozen=True)
class Treatable:
    """A layer with weights; ``prunable`` if it could lose outputs and the model still works."""

    name: str
    parameters: int
    prunable: bool


class Editor(Protocol):
    """A model in which one layer can be treated and nothing else changes."""

    @property
    def layers(self) -> Sequence[Treatable]:
        """Those that can be treated."""

    def answers(self, samples: Samples, layer: str = "", technique: str = "") -> Outputs:
        """Outputs with ``layer`` treated; with no layer, the model's own."""


def sensitivities(
    model: WorkingModel,
    signature: Signature,
    layers: Sequence[Layer],
    question: Question,
    report: Report,
) -> Sensitivities:
    """Every technique on every layer alone, the layers with the most parameters first.

    On at most ``SAMPLES`` of the selection split (fewer for a model that computes much),
    ``MAX_LAYERS`` layers and for about ``SECONDS``: the same numbers for the same model and data,
    though how many depends on the computer.

    Raises:
        InvalidRequest: the data do not fit the model or the metric.
    """
    if model.format not in _EDITORS:
        return Sensitivities((), f"no layer of a {model.format.value} can be treated alone")
    selection = load_for_passes(question.data, signature, question.split_seed).selection
    macs = sum(each.macs for each in layers)
    samples = selection.take(slice(max(FEWEST_SAMPLES, min(SAMPLES, _MACS // max(macs, 1)))))
    editor: Editor = import_module(
        f"distillfarm.compression.analysis.{_EDITORS[model.format]}"
    ).editor(model, signature, layers)
    own = editor.answers(samples)
    labelled = samples.labelled
    if not labelled:
        samples = replace(samples, labels=as_labels(own))
    question.metric.quality(own, samples.labels)  # says what is wrong with the data, if anything is
    chosen = sorted(editor.layers, key=lambda each: (-each.parameters, each.name))
    asked = [
        (layer, technique)
        for layer in chosen[:MAX_LAYERS]
        for technique in WEIGHTS
        if technique != "prune" or layer.prunable
    ]
    found: list[Sensitivity] = []
    started_s = time.monotonic()
    for layer, technique in asked:
        if time.monotonic() - started_s > SECONDS:
            break
        report(len(found) / len(asked), f"{technique} of {one_line(layer.name, 60)}")
        outputs = editor.answers(samples, layer.name, technique)
        divergence, drop_points = _compared(own, outputs, samples, question.metric)
        name = one_line(layer.name, MAX_NAME_CHARACTERS)
        found.append(Sensitivity(name, technique, divergence, drop_points))
    said = [] if labelled else ["the data have no labels: points lost are answers that change"]
    said += filter(None, [_left_out(found, chosen)])
    return Sensitivities(tuple(found), "; ".join(said))


def _left_out(found: Sequence[Sensitivity], chosen: Sequence[Treatable]) -> str:
    if not chosen:
        return "no layer has weights in floating point that a technique could be tried on"
    done = len({each.layer for each in found})
    if done == len(chosen):
        return ""
    return f"what techniques cost was asked of the {done} largest of {len(chosen)} layers only"


def _compared(
    own: Outputs, outputs: Outputs, samples: Samples, metric: Metric
) -> tuple[float, float]:
    """Divergence, and points of quality lost."""
    drop_points = metric.drop(own, outputs, samples.labels).value
    if is_classes(samples.labels) and len(own) == 1:
        name = next(iter(own))
        return kl_divergence(own[name], outputs[name]), drop_points
    return relative_error(own, outputs), drop_points


def kl_divergence(own: NDArray[np.generic], treated: NDArray[np.generic]) -> float:
    """Mean Kullback-Leibler divergence in nats between rows of scores or probabilities."""
    before, after = _log_probabilities(own), _log_probabilities(treated)
    divergence = (np.exp(before) * (before - after)).sum(axis=1).mean()
    return float(np.clip(np.nan_to_num(divergence, nan=_BEYOND, posinf=_BEYOND), 0.0, _BEYOND))


def relative_error(own: Outputs, treated: Outputs) -> float:
    """Root mean square of the difference over that of the model's own outputs."""
    difference = sum(
        float(np.square(each.astype(np.float64) - treated[name].astype(np.float64)).sum())
        for name, each in own.items()
    )
    size = sum(float(np.square(each.astype(np.float64)).sum()) for each in own.values())
    error = np.sqrt(difference / max(size, _TINY))
    return float(np.nan_to_num(error, nan=_BEYOND, posinf=_BEYOND))


def _log_probabilities(scores: NDArray[np.generic]) -> NDArray[np.float64]:
    rows = scores.reshape(len(scores), -1).astype(np.float64)
    if (rows >= 0).all() and np.allclose(rows.sum(axis=1), 1.0, atol=_CLOSE):
        return np.log(np.maximum(rows, _TINY))
    shifted = rows - rows.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
