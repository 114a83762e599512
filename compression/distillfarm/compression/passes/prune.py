"""Takes whole channels and attention heads out of a module, then lets it learn again."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distillfarm.compression.passes.finetuning import FinetuneSettings, written
from distillfarm.compression.passes.settings import number, option, parse
from distillfarm.compression.passes.surgery import (
    finetune_stage,
    module_of,
    note,
    part_of,
    samples,
    with_open_attention,
)
from distillfarm.compression.protocols import PassRefused, Promise, WorkingModel, Workspace
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.variant import PassSpec

if TYPE_CHECKING:
    from distillfarm.compression.torch_models import TorchModel
    from distillfarm.compression.widths import Found, Width, Widths

_TRIED_SAMPLES = 8
_SCORING_SAMPLES = 256
_CUTTING_SHARE = 0.1


@dataclass(frozen=True)
class PruneSettings(FinetuneSettings):
    """``ratio`` of the channels and heads goes, then the rest learns again.

    Widths stay multiples of ``round_to``: on the runtimes measured, channels that are no multiple
    of 8 ran slower than the unpruned ones. With ``scope=layer`` every layer loses its share, with
    ``global`` those lose most whose channels matter least. With more ``steps`` the ratio is
    reached little by little, with ``epochs_between`` epochs of training after each but the last.
    """

    ratio: float = number(0.5, 0.01, 0.95)
    importance: str = option("magnitude", "taylor", "bn_scale")
    scope: str = option("layer", "global")
    round_to: int = number(8, 1, 256)
    steps: int = number(1, 1, 20)
    epochs_between: int = number(2, 1, 1000)


class Prune:
    """Structured pruning (Fang et al., arXiv:2301.12900), then fine-tuning.

    What goes are channels of convolutions, hidden widths of dense layers, feed-forward widths and
    whole attention heads, by group magnitude, by first-order Taylor expansion of the loss
    (Molchanov et al., CVPR 2019) or by the scale of batch normalisation (Liu et al.,
    arXiv:1708.06519; magnitude where there is none). What ``compression.widths`` finds cannot
    shrink stays, and is named in the notes.
    """

    name = "prune"
    formats = frozenset({ModelFormat.TORCH_MODULE})
    gives = None
    promise = Promise.FEWER_PARAMETERS

    def check(self, spec: PassSpec) -> None:
        """Read the settings."""
        parse(spec, PruneSettings)

    def run(self, source: WorkingModel, spec: PassSpec, workspace: Workspace) -> WorkingModel:
        """Prune the module and train it, step by step."""
        settings = parse(spec, PruneSettings)
        workspace.report(0.0, "pruning")
        model = module_of(source, workspace)
        model = with_open_attention(model, samples(model, workspace, _TRIED_SAMPLES)[0], workspace)
        pruning = _Pruning(model, settings, workspace)
        for step in range(1, settings.steps + 1):
            last = step == settings.steps
            part = part_of(workspace, (step - 1) / settings.steps, step / settings.steps)
            kept_share = 1 - settings.ratio * step / settings.steps
            cut = pruning.cut(kept_share, part_of(part, 0.0, _CUTTING_SHARE))
            if last:
                pruning.tell()
            if cut or last:
                epochs = settings.epochs if last else settings.epochs_between
                schedule = dataclasses.replace(settings, epochs=epochs)
                after = part_of(part, _CUTTING_SHARE, 1.0)
                finetune_stage(pruning.model, schedule, after, step)
        return written(pruning.model, workspace, "pruned.zip")


class _Pruning:
    """A model that is cut step by step, with how wide it was at first."""

    def __init__(self, model: "TorchModel", settings: PruneSettings, workspace: Workspace) -> None:
        self.model = model
        self._settings = settings
        self._workspace = workspace
        self._original: dict[str, Width] = {}
        self._units: dict[str, int] = {}
        self._left: list[tuple[str, str]] = []

    def cut(self, kept_share: float, workspace: Workspace) -> bool:
        """Take units out until about ``kept_share`` of the first number is left; False if none."""
        from distillfarm.compression import module_edits
        from distillfarm.compression.width_choice import cuts, goals
        from distillfarm.compression.widths import Obstacle

        module, settings = self.model.module, self._settings
        before = module_edits.sizes(module)
        widths, found = self._found(workspace)
        for each in found.widths:
            self._original.setdefault(each.layer, each)
            self._units[each.layer] = each.units
        first = {name: each.units for name, each in self._original.items()}
        goal = goals(found.widths, first, kept_share, settings.scope == "global")
        done, wrong = False, []
        for width, units in cuts(found.widths, goal, settings.round_to):
            if widths.cut(width, units):
                self._units[width.layer] -= len(units)
                done = True
            else:
                wrong.append((width.layer, Obstacle.MIXED.value))
        module.zero_grad()
        edits = module_edits.resized(before, module_edits.sizes(module))
        self.model = self.model.edited(edits)
        self._left = [*((name, obstacle.value) for name, obstacle in found.left), *wrong]
        return done

    def tell(self) -> None:
        """Note what is left of each width, and which layers stay as they were.

        Raises:
            PassRefused: all of them.
        """
        left, multiple = list(self._left), self._settings.round_to
        shrunk = []
        for name, width in self._original.items():
            kept = self._units[name]
            what = "heads" if width.span > 1 else "channels"
            if kept < width.units:
                shrunk.append(f"{name} {kept} of {width.units} {what}")
            elif name not in dict(left):
                left.append((name, f"its {what} leave no smaller multiple of {multiple} channels"))
        if not shrunk:
            reasons = "; ".join(f"{layer}: {reason}" for layer, reason in left)
            raise PassRefused(f"no layer can be pruned: {reasons or 'the model has none'}")
        self._workspace.notes.append(f"kept {', '.join(shrunk)}")
        note(self._workspace, left)

    def _found(self, workspace: Workspace) -> "tuple[Widths, Found]":
        from distillfarm.compression.torch_answers import MISFITS
        from distillfarm.compression.width_choice import scores
        from distillfarm.compression.widths import Widths

        model = self.model
        inputs, labels = samples(model, workspace, _SCORING_SAMPLES)
        few = tuple(each[:_TRIED_SAMPLES] for each in inputs)
        widths = Widths(model.module, model.spec.signature, few)
        try:
            importance = scores(self._settings.importance, model, inputs, labels)
            return widths, widths.find(importance, lambda done: workspace.report(done, "pruning"))
        except MISFITS as error:
            raise PassRefused(
                f"torch-pruning cannot follow this module: {type(error).__name__}: {error}"
            ) from error
