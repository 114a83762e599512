"""Quantises all but the few layers that mind: mixed precision by measured sensitivity."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distillfarm.compression.passes.int4 import Int4Settings
from distillfarm.compression.passes.int8_dynamic import Int8DynamicSettings
from distillfarm.compression.passes.int8_static import Int8StaticSettings
from distillfarm.compression.passes.settings import number, option, parse
from distillfarm.compression.protocols import PassRefused, Promise, WorkingModel, Workspace
from distillfarm.domain.model import ModelFormat, Sensitivity
from distillfarm.domain.variant import PassSpec

if TYPE_CHECKING:
    from distillfarm.compression.passes.quantisers import Quantiser

_LARGEST_SHARE = 0.5


@dataclass(frozen=True)
class MixedSettings:
    """Quantise by ``technique``, but let at most ``limit`` points of the answers change.

    A point is 1 % of the samples whose class changes, or 1 % of the answers' size where they are
    no classes.
    """

    technique: str = option("int8_static", "int8_dynamic", "int4")
    limit: float = number(1.0, 0.0, 100.0)


class Mixed:
    """Layers stay in floating point, the most sensitive first, until the answers hold.

    Sensitivity is measured by quantising one layer alone and comparing with the model's own
    answers on training samples, as HAWQ and ZeroQ order layers (Dong et al., ICCV 2019; Cai et
    al., CVPR 2020). At most half of the layers may stay.
    """

    name = "mixed"
    formats = frozenset({ModelFormat.ONNX, ModelFormat.TFLITE})
    gives = None
    promise = Promise.SMALLER_FILE

    def check(self, spec: PassSpec) -> None:
        """Read the settings."""
        parse(spec, MixedSettings)

    def run(self, source: WorkingModel, spec: PassSpec, workspace: Workspace) -> WorkingModel:
        """Quantise, measure, take layers back."""
        from distillfarm.compression.passes import disturbance
        from distillfarm.compression.passes.quantisers import quantised

        settings = parse(spec, MixedSettings)
        quantiser = opened(source, settings.technique, workspace)
        path = workspace.folder / f"mixed.{source.format.value}"
        quantised(quantiser, path, workspace)
        against = disturbance.reference(source, workspace)
        moved = against.moved_points(path)
        if moved <= settings.limit:
            workspace.notes.append(f"no layer had to stay: {moved:.2g} points of the answers moved")
            return WorkingModel(path, source.format)
        workspace.notes.clear()  # of the file with every layer quantised
        order = disturbance.sensitivities(
            quantiser,
            against,
            settings.technique,
            workspace.folder,
            lambda done: workspace.report(0.5 + 0.3 * done, "measuring the layers' sensitivity"),
        )
        most = max(1, int(_LARGEST_SHARE * len(order)))

        def moved_with(count: int) -> float:
            workspace.report(0.8 + 0.2 * count / (most + 1), f"{count} layers in floating point")
            quantiser.quantise(path, {each.layer for each in order[:count]})
            return against.moved_points(path)

        kept = order[: _fewest(order, most, settings.limit, moved_with)]
        workspace.notes.append(
            f"kept {len(kept)} of {len(quantiser.layers)} layers in floating point, the most"
            f" sensitive first: {'; '.join(map(disturbance.shown, kept))}"
        )
        return WorkingModel(path, source.format)


def opened(source: WorkingModel, technique: str, workspace: Workspace) -> "Quantiser":
    """The quantiser that a pass of this name uses, with its defaults."""
    from distillfarm.compression.passes import int4, int8_dynamic, int8_static

    match technique:
        case "int8_static":
            return int8_static.opened(source, Int8StaticSettings(), workspace)
        case "int8_dynamic":
            return int8_dynamic.opened(source, Int8DynamicSettings(), workspace)
        case _:
            return int4.opened(source, Int4Settings(), workspace)


def _fewest(
    order: Sequence[Sensitivity], most: int, limit: float, moved_with: Callable[[int], float]
) -> int:
    """How many layers must stay, the most sensitive first, for the answers to hold."""
    moved = math.inf
    for count in range(1, most + 1):
        moved = moved_with(count)
        if moved <= limit:
            return count
    from distillfarm.compression.passes import disturbance

    raise PassRefused(
        f"with {most} of {len(order)} layers in floating point {moved:.3g} points of the answers"
        f" still move, limit {limit:g}; worst is {disturbance.shown(order[0])}; raise limit, or use"
        " fp16"
    )
