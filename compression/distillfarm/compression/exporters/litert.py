"""Writes .tflite files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distillfarm.compression.exporters.base import FileExporter
from distillfarm.compression.exporters.routes import Route
from distillfarm.compression.protocols import WorkingModel, Workspace
from distillfarm.domain.errors import MissingExtra
from distillfarm.domain.hardware import Target
from distillfarm.domain.model import ModelFormat


class LiteRtExporter(FileExporter):
    """PyTorch through litert-torch, Keras and SavedModels through TensorFlow's converter.

    The batch is 1. The file's signature names inputs and outputs as the source does, and so do
    its metadata. From ONNX no route is kept: onnx2tf needs Python 3.12.
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
    file_name = "model.tflite"

    def routes(
        self, source: WorkingModel, path: Path, target: Target, workspace: Workspace
    ) -> Sequence[Route]:
        """The framework's own converter; for Keras also through a SavedModel."""
        del target
        match source.format:
            case ModelFormat.KERAS:
                return [
                    Route("TFLiteConverter", lambda: _keras(source, path, workspace)),
                    Route(
                        "TFLiteConverter on a SavedModel",
                        lambda: _keras_saved(source, path, workspace),
                    ),
                ]
            case ModelFormat.SAVED_MODEL:
                return [Route("TFLiteConverter", lambda: _saved_model(source, path, workspace))]
            case _:
                return [Route("litert-torch", lambda: _torch(source, path, workspace))]

    def notes(self, path: Path, workspace: Workspace) -> Sequence[str]:
        """The signature and the metadata."""
        from distillfarm.compression.exporters.tflite_metadata import names
        from distillfarm.compression.passes.tflite_files import signature_key

        del workspace
        inputs, outputs = names(path)
        return [
            f"signature {signature_key(path)}: {', '.join(inputs)} -> {', '.join(outputs)};"
            " TFLITE_METADATA name the same"
        ]


def _torch(source: WorkingModel, path: Path, workspace: Workspace) -> None:
    from distillfarm.compression.exporters import torch_sources
    from distillfarm.compression.exporters.tflite_metadata import describe

    try:
        import litert_torch
    except ImportError as error:
        raise MissingExtra(
            f"PyTorch to .tflite needs litert-torch; run make setup: {error}"
        ) from error
    opened = torch_sources.opened(source, workspace)
    litert_torch.convert(opened.named(), sample_kwargs=opened.examples()).export(str(path))
    describe(path)


def _keras(source: WorkingModel, path: Path, workspace: Workspace) -> None:
    import tensorflow

    from distillfarm.compression.exporters.tflite_metadata import describe

    model = _keras_model(source, workspace)
    path.write_bytes(tensorflow.lite.TFLiteConverter.from_keras_model(model).convert())
    describe(path)


def _keras_saved(source: WorkingModel, path: Path, workspace: Workspace) -> None:
    folder = workspace.folder / "exported"
    _keras_model(source, workspace).export(folder, verbose=False)
    _from_folder(folder, path)


def _saved_model(source: WorkingModel, path: Path, workspace: Workspace) -> None:
    from distillfarm.compression import keras_models

    keras_models.pin_tensorflow_threads(workspace.threads)
    _from_folder(keras_models.unpack_saved_model(source.path, workspace.folder), path)


def _keras_model(source: WorkingModel, workspace: Workspace) -> Any:
    from distillfarm.compression import keras_models

    keras_models.choose_backend("tensorflow")
    keras_models.pin_tensorflow_threads(workspace.threads)
    return keras_models.load(source.path, workspace.folder)


def _from_folder(folder: Path, path: Path) -> None:
    import tensorflow

    from distillfarm.compression.exporters.tflite_metadata import describe

    path.write_bytes(tensorflow.lite.TFLiteConverter.from_saved_model(str(folder)).convert())
    describe(path)
