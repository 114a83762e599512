"""Keras models and TensorFlow SavedModels: opened without running code that they carry."""

import contextlib
import os
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

from distillfarm.compression.readers import archives
from distillfarm.domain.errors import InternalError, MissingExtra, ModelRejected


def choose_backend(backend: str) -> None:
    """Let Keras compute with ``torch`` or ``tensorflow``; a process can choose once.

    Raises:
        InternalError: Keras already computes with the other one here.
    """
    os.environ.setdefault("KERAS_BACKEND", backend)
    chosen = backend_of_this_process()
    if chosen != backend:
        raise InternalError(f"Keras already computes with {chosen} in this process")


def load(path: Path, folder: Path) -> Any:
    """The ``keras.Model`` of a .keras or .h5 file.

    ``folder`` takes a copy, since Keras wants the suffix. Lambda layers and other marshalled code
    are refused.

    Raises:
        ModelRejected: no Keras file, or one that holds code or names unknown layers.
        MissingExtra: Keras is not installed.
    """
    os.environ.setdefault("KERAS_BACKEND", backend_of_this_process())
    try:
        import keras
    except ImportError as error:
        raise MissingExtra(
            f"Keras models need pip install 'distillfarm[tensorflow]': {error}"
        ) from error
    copy = folder / ("model.keras" if zipfile.is_zipfile(path) else "model.h5")
    shutil.copyfile(path, copy)
    try:
        model = keras.saving.load_model(copy, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError, AttributeError) as error:
        raise ModelRejected(f"Keras cannot load the model: {error}") from error
    finally:
        copy.unlink()
    if not getattr(model, "inputs", None):
        raise ModelRejected(
            "the Keras model has no declared inputs; build it as a functional model"
        )
    return model


def backend_of_this_process() -> str:
    """The backend that Keras has here, or would get: torch unless TensorFlow was asked for."""
    if "keras" in sys.modules:
        return str(sys.modules["keras"].backend.backend())
    return os.environ.get("KERAS_BACKEND", "torch")


def unpack_saved_model(tar: Path, folder: Path) -> Path:
    """Unpack the tar of a SavedModel into a new folder below ``folder``; gives that folder.

    Raises:
        ModelRejected: no such tar, or members that would leave the folder.
    """
    target = folder / "saved_model"
    target.mkdir()
    archives.unpack_tar(tar, target)
    found = sorted(target.rglob("saved_model.pb"), key=lambda each: len(each.parts))
    if not found:
        raise ModelRejected("the tar holds no saved_model.pb")
    return found[0].parent


def pin_threads(threads: int) -> None:
    """Let the backend that Keras has here use ``threads`` threads."""
    if backend_of_this_process() == "tensorflow":
        pin_tensorflow_threads(threads)
    else:
        import torch

        torch.set_num_threads(threads)


def pin_tensorflow_threads(threads: int) -> None:
    """Let TensorFlow use ``threads`` threads; without effect once it has begun to compute."""
    import tensorflow

    with contextlib.suppress(RuntimeError):
        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
