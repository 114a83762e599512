"""Writes ONNX files."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from distillfarm.compression.exporters.comparison import max_abs_error
from distillfarm.compression.protocols import ExportRefused, WorkingModel, Workspace
from distillfarm.domain.hardware import Target
from distillfarm.domain.model import ModelFormat, Signature

if TYPE_CHECKING:
    import torch
    from torch import nn


class OnnxExporter:
    """PyTorch through ``torch.onnx`` (dynamo); Keras on its torch backend through the same.

    The batch stays free wherever PyTorch can follow that; else it is 1.
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

    def export(self, source: WorkingModel, target: Target, workspace: Workspace) -> Path:
        """Write the file; inputs and outputs keep the source's names."""
        path = workspace.folder / "model.onnx"
        match source.format:
            case ModelFormat.ONNX:
                shutil.copyfile(source.path, path)
            case ModelFormat.TORCH_MODULE:
                _module(source, path, workspace)
            case ModelFormat.TORCH_EXPORT:
                _program(source, path, workspace)
            case ModelFormat.KERAS:
                _keras(source, path, workspace)
            case _:
                raise ExportRefused(
                    f"a {source.format.value} model cannot be written as ONNX for {target};"
                    " distil it first, which gives a PyTorch student that can"
                )
        return path

    def verify(self, path: Path, reference: WorkingModel, workspace: Workspace) -> float:
        """Compare with ``reference`` under ONNX Runtime."""
        return max_abs_error(WorkingModel(path, self.format), reference, workspace)


def _module(source: WorkingModel, path: Path, workspace: Workspace) -> None:
    import torch

    from distillfarm.compression import torch_models

    torch.set_num_threads(workspace.threads)
    model = torch_models.read(source.path)
    _trace(model.module, model.spec.signature, path)


def _keras(source: WorkingModel, path: Path, workspace: Workspace) -> None:
    from distillfarm.compression import keras_models
    from distillfarm.compression.predictors.keras import signature

    keras_models.choose_backend("torch")
    model = keras_models.load(source.path, workspace.folder)
    _trace(_inference(model), signature(model), path)


def _inference(model: "nn.Module") -> "nn.Module":
    """A Keras model that takes its inputs by position and never trains."""
    from torch import nn

    class Inference(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: "torch.Tensor") -> object:
            given = list(inputs) if len(inputs) > 1 else inputs[0]
            return self.model(given, training=False)

    return Inference()


def _trace(module: "nn.Module", signature: Signature, path: Path) -> None:
    """Export with a free batch if every input has one and tracing can follow, else with 1."""
    import torch

    from distillfarm.compression.torch_models import Flat, example_inputs

    flat = Flat(module, signature).eval()
    if all(each.shape[0] < 0 for each in signature.inputs):
        batch = torch.export.Dim("batch")
        shapes = {"inputs": tuple({0: batch} for _ in signature.inputs)}
        try:
            # A batch of 1 would be taken for a constant.
            _write(flat, example_inputs(signature, batch=2), signature, path, shapes)
        except torch.onnx.errors.OnnxExporterError:
            pass
        else:
            return
    _write(flat, example_inputs(signature), signature, path, None)


def _program(source: WorkingModel, path: Path, workspace: Workspace) -> None:
    import torch

    from distillfarm.compression import torch_exports

    torch.set_num_threads(workspace.threads)
    program = torch_exports.read(source.path)
    _write(program, (), torch_exports.signature(program), path, None)


def _write(
    model: "nn.Module | torch.export.ExportedProgram",
    inputs: "tuple[torch.Tensor, ...]",
    signature: Signature,
    path: Path,
    shapes: "dict[str, tuple[dict[int, torch.export.Dim], ...]] | None",
) -> None:
    import torch

    from distillfarm.compression.passes.onnx_files import tidy

    torch.onnx.export(
        model,
        inputs,
        path,
        dynamo=True,
        input_names=[each.name for each in signature.inputs],
        output_names=[each.name for each in signature.outputs],
        dynamic_shapes=shapes,
        external_data=False,
        verbose=False,
    )
    tidy(path)
