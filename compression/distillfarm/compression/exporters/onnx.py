"""Writes ONNX files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from distillfarm.compression.exporters.base import FileExporter
from distillfarm.compression.exporters.routes import Route
from distillfarm.compression.protocols import WorkingModel, Workspace
from distillfarm.domain.hardware import Target
from distillfarm.domain.model import ModelFormat

if TYPE_CHECKING:
    import torch
    from torch import nn

    from distillfarm.compression.exporters.torch_sources import TorchSource

_BATCH = "batch"


class OnnxExporter(FileExporter):
    """PyTorch through ``torch.onnx``; Keras on its torch backend through the same.

    The batch stays free wherever PyTorch can follow that, else it is 1. What ``torch.export``
    cannot follow goes through TorchScript, unless a branch there depends on the data: a trace
    would keep one side of it and lose the other.
    """

    format = ModelFormat.ONNX
    sources = frozenset(
        {
            ModelFormat.KERAS,
            ModelFormat.ONNX,
            ModelFormat.TORCH_EXPORT,
            ModelFormat.TORCH_MODULE,
        }
    )
    file_name = "model.onnx"

    def routes(
        self, source: WorkingModel, path: Path, target: Target, workspace: Workspace
    ) -> Sequence[Route]:
        """The program as it is, a free batch, a batch of 1, TorchScript."""
        from distillfarm.compression.exporters import torch_sources

        del target
        opened = torch_sources.opened(source, workspace)

        def route(name: str, write: "Callable[[TorchSource, Path], None]") -> Route:
            return Route(name, lambda: write(opened, path))

        return [
            *([route("torch.onnx on the program", _program)] if opened.program else []),
            *([route("torch.onnx with a free batch", _free)] if opened.free_batch else []),
            route("torch.onnx with a batch of 1", _fixed),
            route("TorchScript", _scripted),
        ]

    def notes(self, path: Path, workspace: Workspace) -> Sequence[str]:
        """What ONNX Runtime makes of the graph when it loads it, and how it is run."""
        import onnx
        import onnxruntime

        optimised = workspace.folder / "optimised.onnx"
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.optimized_model_filepath = str(optimised)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        before, after = (len(onnx.load(each).graph.node) for each in (path, optimised))
        optimised.unlink()
        return [
            f"ONNX Runtime's graph optimisation (level all, at load) makes {after} nodes of the"
            f" file's {before}; the file holds the graph before it, since the other fits one CPU"
            " and one version only. Session options: all optimisations, sequential execution,"
            " inter-op threads 1, intra-op threads as the job says"
        ]


def _program(opened: "TorchSource", path: Path) -> None:
    if opened.program is not None:
        _dynamo(opened.program, (), opened, path)


def _free(opened: "TorchSource", path: Path) -> None:
    import torch

    batch = torch.export.Dim(_BATCH)
    shapes = {"inputs": tuple({0: batch} for _ in opened.signature.inputs)}
    # A batch of 1 would be taken for a constant.
    _dynamo(opened.flat(), tuple(opened.examples(batch=2).values()), opened, path, shapes)


def _fixed(opened: "TorchSource", path: Path) -> None:
    _dynamo(opened.flat(), tuple(opened.examples().values()), opened, path)


def _dynamo(
    model: "nn.Module | torch.export.ExportedProgram",
    inputs: "tuple[torch.Tensor, ...]",
    opened: "TorchSource",
    path: Path,
    shapes: "dict[str, tuple[dict[int, torch.export.Dim], ...]] | None" = None,
) -> None:
    import torch

    from distillfarm.compression.passes.onnx_files import tidy

    torch.onnx.export(
        model,
        inputs,
        path,
        dynamo=True,
        input_names=[each.name for each in opened.signature.inputs],
        output_names=[each.name for each in opened.signature.outputs],
        dynamic_shapes=shapes,
        external_data=False,
        verbose=False,
    )
    tidy(path)


def _scripted(opened: "TorchSource", path: Path) -> None:
    import torch

    from distillfarm.compression.exporters import torch_sources
    from distillfarm.compression.passes.onnx_files import tidy

    inputs = [each.name for each in opened.signature.inputs]
    outputs = [each.name for each in opened.signature.outputs]
    axes = {name: {0: _BATCH} for name in (*inputs, *outputs)} if opened.free_batch else None
    with torch_sources.tracing():
        torch.onnx.export(
            opened.flat(),
            tuple(opened.examples(batch=2 if opened.free_batch else 1).values()),
            path,
            dynamo=False,
            input_names=inputs,
            output_names=outputs,
            dynamic_axes=axes,
            training=torch.onnx.TrainingMode.PRESERVE,
        )
    tidy(path)
