"""Writes .tflite files."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from distillfarm.compression.exporters.comparison import max_abs_error
from distillfarm.compression.protocols import ExportRefused, WorkingModel, Workspace
from distillfarm.domain.errors import MissingExtra
from distillfarm.domain.hardware import Target
from distillfarm.domain.model import ModelFormat, Signature

if TYPE_CHECKING:
    import torch
    from torch import nn


class LiteRtExporter:
    """PyTorch through litert-torch, Keras and SavedModels through TensorFlow's converter.

    The batch is 1. The file's signature names inputs and outputs as the source does.
    """

    format = ModelFormat.TFLITE
    sources = frozenset(
        {
            ModelFormat.KERAS,
            ModelFormat.SAVED_MODEL,
            ModelFormat.TFLITE,
            ModelFormat.TORCH_EXPORT,
            ModelFormat.TORCH_MODULE,
        }
    )

    def export(self, source: WorkingModel, target: Target, workspace: Workspace) -> Path:
        """Write the file; inputs and outputs keep the source's names."""
        path = workspace.folder / "model.tflite"
        match source.format:
            case ModelFormat.TFLITE:
                shutil.copyfile(source.path, path)
            case ModelFormat.TORCH_MODULE:
                _module(source, path, workspace)
            case ModelFormat.TORCH_EXPORT:
                _program(source, path, workspace)
            case ModelFormat.KERAS:
                _keras(source, path, workspace)
            case ModelFormat.SAVED_MODEL:
                _saved_model(source, path, workspace)
            case _:
                raise ExportRefused(
                    f"a {source.format.value} model cannot be written as .tflite for {target};"
                    " distil it first, which gives a PyTorch student that can"
                )
        return path

    def verify(self, path: Path, reference: WorkingModel, workspace: Workspace) -> float:
        """Compare with ``reference`` under LiteRT."""
        return max_abs_error(WorkingModel(path, self.format), reference, workspace)


def _module(source: WorkingModel, path: Path, workspace: Workspace) -> None:
    import torch

    from distillfarm.compression import torch_models

    torch.set_num_threads(workspace.threads)
    model = torch_models.read(source.path)
    _convert(model.module, model.spec.signature, path)


def _program(source: WorkingModel, path: Path, workspace: Workspace) -> None:
    import torch

    from distillfarm.compression import torch_exports

    torch.set_num_threads(workspace.threads)
    program = torch_exports.read(source.path)
    _convert(program.module(), torch_exports.signature(program), path)


def _convert(module: "nn.Module", signature: Signature, path: Path) -> None:
    try:
        import litert_torch
    except ImportError as error:
        raise MissingExtra(
            f"PyTorch to .tflite needs litert-torch; run make setup: {error}"
        ) from error
    from distillfarm.compression.torch_models import example_inputs

    names = [each.name for each in signature.inputs]
    samples = dict(zip(names, example_inputs(signature), strict=True))
    edge_model = litert_torch.convert(_named(module, signature), sample_kwargs=samples)
    edge_model.export(str(path))


def _named(module: "nn.Module", signature: Signature) -> "nn.Module":
    """A module with named inputs and outputs: their names become the file's signature."""
    from torch import nn

    from distillfarm.compression.torch_models import Flat

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.flat = Flat(module, signature)

        def forward(self, **inputs: "torch.Tensor") -> "Mapping[str, torch.Tensor]":
            answers = self.flat(*(inputs[each.name] for each in signature.inputs))
            names = [each.name for each in signature.outputs]
            return dict(zip(names, answers, strict=True))

    named = Named()
    # A program that torch.export made refuses eval(): it is in that mode already.
    named.training = False
    return named


def _keras(source: WorkingModel, path: Path, workspace: Workspace) -> None:
    import tensorflow

    from distillfarm.compression import keras_models

    keras_models.choose_backend("tensorflow")
    keras_models.pin_tensorflow_threads(workspace.threads)
    model = keras_models.load(source.path, workspace.folder)
    path.write_bytes(tensorflow.lite.TFLiteConverter.from_keras_model(model).convert())


def _saved_model(source: WorkingModel, path: Path, workspace: Workspace) -> None:
    import tensorflow

    from distillfarm.compression import keras_models

    keras_models.pin_tensorflow_threads(workspace.threads)
    folder = keras_models.unpack_saved_model(source.path, workspace.folder)
    path.write_bytes(tensorflow.lite.TFLiteConverter.from_saved_model(str(folder)).convert())
