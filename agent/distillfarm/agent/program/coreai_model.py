"""Core AI on this computer: a model that is unpacked and compiled anew in every process.

Its inferences are coroutines: each sample holds a turn of an event loop (0.05 ms) and the way to
the runtime's threads and back. They show that a model is right, and nothing of its speed on an
iPhone.
"""

import asyncio
import hashlib
import tarfile
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from coreai.authoring import AIModelAsset
from coreai.runtime import NDArray, NDArrayDescriptor

from distillfarm.agent.program.model import BadInputs, Placed, Refused, Tensor, runtime_failure

if TYPE_CHECKING:
    from distillfarm.agent.program.model import Array, Arrays

VERSION = version("coreai-core")
FAILURES = (RuntimeError, ValueError, KeyError, MemoryError)

# Choosing compute units is offered on Apple's systems alone.
_DELEGATE = "cpu_only"
_FUNCTION = "main"


class CoreAiModel:
    """The function ``main`` of a model; see ``model.Model``."""

    def __init__(self, path: str, delegate: str, threads: int) -> None:
        """Unpack, compile and load ``path``; Core AI takes no number of threads.

        Raises:
            Refused: no such delegate here, a file that is no model, one that keeps a state.
            OutOfMemory: it did not fit.
        """
        del threads
        if delegate != _DELEGATE:
            raise Refused(
                f"Core AI {VERSION} on this computer has no {delegate!r}; it has {_DELEGATE}"
            )
        self._loop = asyncio.new_event_loop()
        self._folder = tempfile.TemporaryDirectory()
        # What is compiled stays on disk for as long as this is open.
        self._opened = AIModelAsset.load(_unpacked(path, self._folder.name)).executable()
        try:
            model = self._loop.run_until_complete(self._opened.__aenter__())
            self._function = model.load_function(_FUNCTION)
        except FAILURES as error:
            raise runtime_failure(error) from error
        if states := self._function.desc.state_names:
            raise Refused(f"the model keeps a state between inferences: {', '.join(states)}")

    def inputs(self) -> list[Tensor]:
        """See ``model.Model``."""
        told = self._function.desc
        return [_tensor(name, told.input_descriptor(name)) for name in told.input_names]

    def bind(self, arrays: "Arrays") -> Callable[[], object]:
        """See ``model.Model``; the inputs are copied once, here."""
        try:
            given = {name: NDArray(np.ascontiguousarray(each)) for name, each in arrays.items()}
        except FAILURES as error:
            raise BadInputs(f"Core AI cannot take the inputs: {error}") from error
        wait, function = self._loop.run_until_complete, self._function

        def invoke() -> None:
            self._last = wait(function(given))

        return invoke

    def outputs(self) -> "dict[str, Array]":
        """See ``model.Model``."""
        return {name: np.array(each.numpy()) for name, each in self._last.items()}

    def placements(self) -> list[Placed]:
        """None: Core AI tells of no operator where it ran."""
        return []


def _tensor(name: str, array: NDArrayDescriptor) -> Tensor:
    return Tensor(name, array.dtype, tuple(-1 if size is None else size for size in array.shape))


def _unpacked(path: str, folder: str) -> Path:
    """The .aimodel in the tar at ``path``.

    The runtime ends its process over a program that is damaged, so its hash is looked at first.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            archive.extractall(folder, filter="data")
        asset = next(Path(folder).glob("*.aimodel"), None)
        if asset is None:
            raise Refused("the model's tar holds no .aimodel")
        whole = hashlib.sha256((asset / "main.mlirb").read_bytes()).digest()
        if whole != (asset / "main.hash").read_bytes():
            raise Refused("the model is damaged: its hash is another")
    except (tarfile.TarError, OSError, ValueError) as error:
        raise Refused(f"the model is no tar of an .aimodel: {error}") from error
    return asset
