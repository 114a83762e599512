"""PyTorch modules as files that hold no code but the user's own factory: TORCH_MODULE.

A zip, stored without packing, of ``module.json`` (a ``ModuleSpec``), ``weights.safetensors`` and,
where the user's file builds the module, ``factory.py``. What passes have changed about the layers
is kept as ``edits`` and done again to the freshly built module before the weights are loaded.
Nothing is ever pickled. The same module gives the same bytes.
"""

import dataclasses
import inspect
import linecache
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from distillfarm.compression import module_edits
from distillfarm.compression.module_edits import Edit
from distillfarm.compression.zoo.config import ZooConfig
from distillfarm.compression.zoo.modules import build
from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.model import Signature, TensorSpec

_SPEC, _WEIGHTS, _FACTORY = "module.json", "weights.safetensors", "factory.py"
_EPOCH = (1980, 1, 1, 0, 0, 0)

FACTORY_MODULE = "distillfarm_user_factory"
"""Where in ``sys.modules`` the user's file stands that ``run_factory`` ran last."""


@dataclass(frozen=True)
class ModuleSpec:
    """How a module is built: from the zoo, or by ``factory_function`` of the user's file.

    ``signature`` names the arguments of ``forward`` in their order, and its outputs. The function
    is given ``factory_arguments`` by name. ``edits`` are what was changed about its layers since,
    in this order.
    """

    signature: Signature
    zoo: ZooConfig | None = None
    factory_function: str = ""
    # A depth must come back as the whole number that it was: `range` takes no float.
    factory_arguments: tuple[tuple[str, int | float], ...] = ()
    edits: tuple[Edit, ...] = ()


@dataclass(frozen=True)
class TorchModel:
    """A module with how to build it again; ``factory_source`` is empty for the zoo's."""

    module: nn.Module
    spec: ModuleSpec
    factory_source: bytes = b""

    def edited(self, edits: Sequence[Edit]) -> "TorchModel":
        """The same module, which ``edits`` were done to, with them in its spec."""
        spec = dataclasses.replace(self.spec, edits=(*self.spec.edits, *edits))
        return dataclasses.replace(self, spec=spec)


def write(model: TorchModel, path: Path) -> None:
    """Write ``model`` to ``path``."""
    # A clone each, since safetensors refuses tensors that share memory, as tied weights do.
    weights = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in model.module.state_dict().items()
    }
    members = {_SPEC: msgspec.json.encode(model.spec), _WEIGHTS: save(weights)}
    if model.factory_source:
        members[_FACTORY] = model.factory_source
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)


def read(path: Path) -> TorchModel:
    """Build the module of ``path`` and load its weights; in evaluation mode.

    Runs the user's factory, if there is one: only in a sandbox.

    Raises:
        ModelRejected: the file is no such zip, or weights and module do not fit.
    """
    members = _members(path)
    try:
        spec = msgspec.json.decode(members[_SPEC], type=ModuleSpec)
        weights = load(members[_WEIGHTS])
    except (KeyError, msgspec.MsgspecError, SafetensorError) as error:
        raise ModelRejected(f"{path.name} is no TORCH_MODULE: {error}") from error
    source = members.get(_FACTORY, b"")
    module = build(spec.zoo) if spec.zoo else made(spec, source)
    module_edits.replay(module, spec.edits)
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelRejected(f"{path.name}: weights do not fit the module: {error}") from error
    return TorchModel(module.eval(), spec, source)


def made(spec: ModuleSpec, source: bytes) -> nn.Module:
    """A fresh module of the user's factory, before any edit; only in a sandbox.

    Raises:
        ModelRejected: as ``run_factory``.
    """
    return run_factory(source, spec.factory_function, **dict(spec.factory_arguments))


def run_factory(source: bytes, function: str, **arguments: float) -> nn.Module:
    """Call ``function`` of the user's Python file with ``arguments``; only in a sandbox.

    Raises:
        ModelRejected: the file does not run, has no such function, or it gives no module.
    """
    try:
        module = _factory(source, function)(**arguments)
    except Exception as error:
        raise ModelRejected(
            f"the model's factory {function!r} failed: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(module, nn.Module):
        raise ModelRejected(
            f"the model's factory {function!r} gave {type(module).__name__}, no torch.nn.Module"
        )
    return module


def factory_takes(source: bytes, function: str) -> frozenset[str]:
    """The names of the arguments that the user's factory takes; only in a sandbox.

    Raises:
        ModelRejected: the file does not run, or has no such function.
    """
    try:
        return frozenset(inspect.signature(_factory(source, function)).parameters)
    except Exception as error:
        raise ModelRejected(
            f"the factory {function!r} cannot be read: {type(error).__name__}: {error}"
        ) from error


def _factory(source: bytes, function: str) -> Callable[..., object]:
    user = ModuleType(FACTORY_MODULE)
    # Dataclasses and torch.export look a class's module up by name, refusals quote its lines.
    sys.modules[FACTORY_MODULE] = user
    lines = source.decode(errors="replace").splitlines(keepends=True)
    linecache.cache[_FACTORY] = (len(source), None, lines, _FACTORY)
    exec(compile(source, _FACTORY, "exec"), user.__dict__)  # noqa: S102
    found: Callable[..., object] = getattr(user, function)
    return found


def example_inputs(signature: Signature, batch: int = 1) -> tuple[Tensor, ...]:
    """Zeros of the inputs' shapes in the order of ``forward``; free dimensions become ``batch``."""
    return tuple(_zeros(each, batch) for each in signature.inputs)


def named_outputs(outputs: object, signature: Signature) -> tuple[Tensor, ...]:
    """What ``forward`` returned, a tensor, a sequence or a mapping, in the signature's order.

    Raises:
        ModelRejected: it is none of these, or does not have the signature's outputs.
    """
    names = [each.name for each in signature.outputs]
    found: Sequence[object] = ()
    if isinstance(outputs, Tensor):
        found = [outputs]
    elif isinstance(outputs, Mapping):
        found = [outputs.get(name) for name in names]
    elif isinstance(outputs, Sequence):
        found = outputs
    tensors = tuple(each for each in found if isinstance(each, Tensor))
    if len(tensors) != len(names) or len(tensors) != len(found):
        raise ModelRejected(f"the module returned {type(outputs).__name__}, not {names}")
    return tensors


def parameter_count(module: nn.Module) -> int:
    """The number of trained values."""
    return sum(each.numel() for each in module.parameters())


class Flat(nn.Module):
    """A module whose ``forward`` takes inputs by position and gives a tuple, for exporters."""

    def __init__(self, module: nn.Module, signature: Signature) -> None:
        super().__init__()
        self.module = module
        self.signature = signature

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Outputs in the signature's order."""
        return named_outputs(self.module(*inputs), self.signature)


def _zeros(spec: TensorSpec, batch: int) -> Tensor:
    shape = [batch if size < 0 else size for size in spec.shape]
    return torch.zeros(shape, dtype=getattr(torch, spec.dtype))


def _members(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [
                entry
                for entry in archive.infolist()
                if entry.filename in (_SPEC, _WEIGHTS, _FACTORY)
            ]
            # Written by us without packing; anything else could inflate without end.
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise ModelRejected(f"{path.name} is no TORCH_MODULE: a packed member")
            return {entry.filename: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise ModelRejected(f"{path.name} is no TORCH_MODULE: {error}") from error
