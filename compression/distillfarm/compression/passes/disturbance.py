"""How far quantising moves a model's answers, in all and layer by layer, by the real quantiser."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from distillfarm.compression import teaching
from distillfarm.compression.analysis.sensitivity import kl_divergence, relative_error
from distillfarm.compression.datasets import Samples, is_classes, load_for_passes
from distillfarm.compression.evaluation import POINTS, Accuracy, Outputs
from distillfarm.compression.inference import open_model
from distillfarm.compression.passes.quantisers import Quantiser
from distillfarm.compression.protocols import WorkingModel, Workspace
from distillfarm.domain.model import Sensitivity

SAMPLES = 256
GROSS_POINTS = 10.0
"""More than that is explained: the gate lets no greater loss of quality through."""
MAX_LAYERS = 100


@dataclass(frozen=True)
class Reference:
    """A model's own answers to at most ``SAMPLES`` of the training split."""

    model: WorkingModel
    samples: Samples
    answers: Outputs
    threads: int

    def moved_points(self, path: Path) -> float:
        """Answers that another file gives otherwise, in points.

        A point is 1 % of the samples where answers are classes: no more accuracy than that can
        be lost. Elsewhere it is 1 % of the root mean square of the answers.
        """
        answers = self._asked(path)
        if not self._classes():
            return POINTS * relative_error(self.answers, answers)
        name = next(iter(self.answers))
        own, other = (each[name].reshape(len(self.samples), -1) for each in (self.answers, answers))
        return POINTS * float((own.argmax(axis=1) != other.argmax(axis=1)).mean())

    def sensitivity(self, path: Path, layer: str, technique: str) -> Sensitivity:
        """What the file ``path``, in which only ``layer`` was changed, does to the answers."""
        answers = self._asked(path)
        if not self._classes():
            return Sensitivity(layer, technique, relative_error(self.answers, answers), 0.0)
        name = next(iter(self.answers))
        drop = Accuracy().drop(self.answers, answers, self.samples.labels)
        divergence = kl_divergence(self.answers[name], answers[name])
        return Sensitivity(layer, technique, divergence, drop.value)

    def _asked(self, path: Path) -> Outputs:
        return open_model(WorkingModel(path, self.model.format), self.threads)(self.samples.inputs)

    def _classes(self) -> bool:
        if len(self.answers) != 1 or not is_classes(self.samples.labels):
            return False
        scores = next(iter(self.answers.values()))
        return bool(scores[0].size > self.samples.labels.max() > 0)


def reference(source: WorkingModel, workspace: Workspace) -> Reference:
    """The answers of ``source`` in floating point."""
    model = open_model(source, workspace.threads)
    data = load_for_passes(workspace.data, model.signature, workspace.split_seed)
    samples = teaching.labelled(workspace, data.train.take(slice(SAMPLES)))
    return Reference(source, samples, model(samples.inputs), workspace.threads)


def sensitivities(
    quantiser: Quantiser,
    against: Reference,
    technique: str,
    folder: Path,
    report: Callable[[float], None],
) -> tuple[Sensitivity, ...]:
    """Each of the first ``MAX_LAYERS`` layers quantised alone, the most sensitive first."""
    found: list[Sensitivity] = []
    chosen = quantiser.layers[:MAX_LAYERS]
    with TemporaryDirectory(dir=folder) as scratch:
        path = Path(scratch) / "single"
        for index, layer in enumerate(chosen):
            report(index / len(chosen))
            quantiser.quantise(path, _without(quantiser.layers, layer))
            found.append(against.sensitivity(path, layer, technique))
    return tuple(sorted(found, key=lambda each: (-each.divergence, each.layer)))


def explain(quantiser: Quantiser, source: WorkingModel, made: Path, workspace: Workspace) -> None:
    """Note which layer it was, if quantising has moved answers grossly."""
    workspace.report(0.6, "comparing answers")
    against = reference(source, workspace)
    moved = against.moved_points(made)
    if moved <= GROSS_POINTS:
        return
    worst = sensitivities(
        quantiser,
        against,
        made.stem,
        workspace.folder,
        lambda done: workspace.report(0.6 + 0.3 * done, "looking for the layer to blame"),
    )
    workspace.notes.append(
        f"{moved:.0f} % of the answers moved; the layer that minds most is {shown(worst[0])};"
        " use mixed, which leaves such layers in floating point"
    )


def shown(sensitivity: Sensitivity) -> str:
    """A layer and what quantising it alone does, in a few words."""
    points = f", {sensitivity.drop_points:.1f} points" if sensitivity.drop_points else ""
    name = sensitivity.layer.rpartition("/")[2]
    return f"{name} (alone: divergence {sensitivity.divergence:.2g}{points})"


def _without(layers: Collection[str], layer: str) -> frozenset[str]:
    return frozenset(layers) - {layer}
