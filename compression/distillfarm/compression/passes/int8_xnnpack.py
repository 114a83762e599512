"""INT8 for ExecuTorch: PyTorch's own quantisation of the exported graph, lowered to XNNPACK."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from distillfarm.compression.datasets import load_for_passes
from distillfarm.compression.passes.settings import number, option, parse
from distillfarm.compression.protocols import PassRefused, Promise, WorkingModel, Workspace
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.variant import PassSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from distillfarm.compression.exporters.torch_sources import TorchSource

MIN_SAMPLES = 16
_STATIC, _DYNAMIC = "static", "dynamic"
_WEIGHTED = tuple(
    f"aten.{name}"
    for name in ("conv", "linear", "addmm", "matmul", "embedding", "gru", "lstm", "rnn")
)


@dataclass(frozen=True)
class Int8XnnpackSettings:
    """Static ``activations`` take their ranges from at most ``samples`` calibration samples."""

    activations: str = option(_STATIC, _DYNAMIC)
    samples: int = number(256, MIN_SAMPLES, 100_000)


class Int8Xnnpack:
    """Symmetric INT8, weights per channel, for the operators that XNNPACK has integer kernels of.

    The graph is quantised before it is lowered, since a .pte cannot be changed any more; so the
    pass takes a PyTorch model and gives a .pte. Dynamic activations serve linear layers alone.
    Recurrent layers stay as they are: XNNPACK's quantiser has no pattern for them.
    """

    name = "int8_xnnpack"
    formats = frozenset({ModelFormat.TORCH_EXPORT, ModelFormat.TORCH_MODULE})
    gives = ModelFormat.EXECUTORCH
    promise = Promise.SMALLER_FILE

    def check(self, spec: PassSpec) -> None:
        """Read the settings."""
        parse(spec, Int8XnnpackSettings)

    def run(self, source: WorkingModel, spec: PassSpec, workspace: Workspace) -> WorkingModel:
        """Watch the calibration samples pass, quantise, lower."""
        settings = parse(spec, Int8XnnpackSettings)
        from distillfarm.compression.exporters import torch_sources
        from distillfarm.compression.exporters.executorch import XNNPACK, write

        workspace.report(0.0, "reading the model")
        opened = torch_sources.opened(source, workspace)
        quantised = _quantised(opened, settings, workspace)
        workspace.report(0.8, "lowering")
        path = workspace.folder / "int8_xnnpack.pte"
        write(quantised, opened.signature, XNNPACK, path, workspace)
        return WorkingModel(path, ModelFormat.EXECUTORCH)


def _quantised(
    opened: "TorchSource", settings: Int8XnnpackSettings, workspace: Workspace
) -> "torch.export.ExportedProgram":
    import torch
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    dynamic = settings.activations == _DYNAMIC
    config = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=dynamic)
    graph = opened.exported().module()
    watched = prepare_pt2e(graph, XNNPACKQuantizer().set_global(config))
    with torch.no_grad():
        # Dynamic ranges are taken when the model runs; one sample sets the observers' shapes.
        for sample in _samples(opened, 1 if dynamic else settings.samples, workspace):
            watched(**sample)
        quantised = convert_pt2e(watched)
        workspace.notes.append(_found(quantised.graph.nodes))
        return torch.export.export(quantised, (), opened.examples())


def _samples(
    opened: "TorchSource", limit: int, workspace: Workspace
) -> Iterator[dict[str, "Tensor"]]:
    """Calibration samples one by one, in the inputs' own types."""
    import torch

    signature = opened.signature
    data = load_for_passes(workspace.data, signature, workspace.split_seed).calibration
    if len(data) < MIN_SAMPLES:
        raise PassRefused(
            f"{len(data)} calibration samples; at least {MIN_SAMPLES} are needed, give more data"
        )
    rows = np.sort(np.random.default_rng(workspace.seed).permutation(len(data))[:limit])
    for count, row in enumerate(rows):
        workspace.report(0.1 + 0.6 * count / len(rows), f"calibrating, {count + 1} of {len(rows)}")
        inputs = data.take(slice(row, row + 1)).inputs
        yield {
            each.name: torch.from_numpy(inputs[each.name].astype(each.dtype))
            for each in signature.inputs
        }


def _found(nodes: "Iterable[torch.fx.Node]") -> str:
    """Which operators with weights were quantised and which were left."""
    done, left = Counter[str](), Counter[str]()
    for node in nodes:
        name = str(node.target)
        if node.op == "call_function" and name.startswith(_WEIGHTED):
            given = [str(each.target) for each in node.all_input_nodes]
            (done if any("dequantize" in each for each in given) else left)[name] += 1
    kept = ", ".join(f"{count} {name}" for name, count in sorted(left.items())) or "none"
    if not done:
        raise PassRefused(f"XNNPACK's quantiser knows none of the operators with weights: {kept}")
    return (
        f"quantised {done.total()} of {(done + left).total()} operators with weights; left: {kept}"
    )
