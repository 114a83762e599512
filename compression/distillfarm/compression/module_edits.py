"""Changes to a module's layers, written down so that a fresh module can be changed the same way.

They hold sizes and names alone; the weights are loaded after the last of them.
"""

from collections.abc import Sequence

import msgspec
import torch
from torch import nn

from distillfarm.compression import torch_layers
from distillfarm.domain.errors import ModelRejected

Number = int | tuple[int, ...]


class Resized(msgspec.Struct, frozen=True, tag="resized"):
    """A layer of other widths: its attributes and the shapes of its tensors, by name."""

    module: str
    numbers: tuple[tuple[str, Number], ...]
    shapes: tuple[tuple[str, tuple[int, ...]], ...]

    def apply(self, root: nn.Module) -> None:
        """Change the layer of ``root``; its resized tensors hold nothing yet."""
        layer = root.get_submodule(self.module)
        for name, value in self.numbers:
            setattr(layer, name, value)
        for name, shape in self.shapes:
            old = getattr(layer, name)
            new = torch.empty(shape, dtype=old.dtype)
            setattr(layer, name, nn.Parameter(new) if isinstance(old, nn.Parameter) else new)


class Factorised(msgspec.Struct, frozen=True, tag="factorised"):
    """A layer that is two now, with the inner width ``rank``."""

    module: str
    rank: int

    def apply(self, root: nn.Module) -> None:
        """Put two fresh layers in the place of one."""
        layer = root.get_submodule(self.module)
        if not isinstance(layer, torch_layers.Factorisable):
            raise TypeError(f"it is {type(layer).__name__}")
        replace(root, self.module, torch_layers.factorised(layer, self.rank))


class Unpacked(msgspec.Struct, frozen=True, tag="unpacked"):
    """An ``nn.MultiheadAttention`` whose projections are layers of their own now."""

    module: str

    def apply(self, root: nn.Module) -> None:
        """Put a ``torch_layers.Attention`` of the same answers in its place."""
        origin = root.get_submodule(self.module)
        if not isinstance(origin, nn.MultiheadAttention):
            raise TypeError(f"it is {type(origin).__name__}")
        replace(root, self.module, torch_layers.unpacked(origin))


Edit = Resized | Factorised | Unpacked


def replay(root: nn.Module, edits: Sequence[Edit]) -> None:
    """Make the changes again, in their order.

    Raises:
        ModelRejected: one does not fit the module.
    """
    for edit in edits:
        try:
            edit.apply(root)
        except (AttributeError, ValueError, TypeError, RuntimeError) as error:
            raise ModelRejected(f"the module has no {edit.module} to change: {error}") from error


def sizes(root: nn.Module) -> tuple[Resized, ...]:
    """The widths of every layer of ``root`` as they are."""
    return tuple(_sizes(name, layer) for name, layer in root.named_modules())


def resized(before: Sequence[Resized], after: Sequence[Resized]) -> tuple[Resized, ...]:
    """What differs between two results of ``sizes`` of the same module."""
    changes = (
        Resized(
            new.module,
            tuple(each for each in new.numbers if each not in old.numbers),
            tuple(each for each in new.shapes if each not in old.shapes),
        )
        for old, new in zip(before, after, strict=True)
    )
    return tuple(each for each in changes if each.numbers or each.shapes)


def replace(root: nn.Module, name: str, layer: nn.Module) -> None:
    """Put ``layer`` everywhere in ``root`` where the one called ``name`` is used.

    Raises:
        ValueError: the layer is ``root`` itself.
    """
    old = root.get_submodule(name)
    for path, each in list(root.named_modules(remove_duplicate=False)):
        if each is old:
            root.set_submodule(path, layer)
        # Its fused path reads the weights of layers that may be gone, past their forward.
        if isinstance(each, nn.TransformerEncoder):
            each.use_nested_tensor = False


def _sizes(name: str, layer: nn.Module) -> Resized:
    numbers = {key: value for key, value in vars(layer).items() if _is_number(value)}
    tensors = [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
    return Resized(
        name, tuple(numbers.items()), tuple((key, tuple(each.shape)) for key, each in tensors)
    )


def _is_number(value: object) -> bool:
    if isinstance(value, tuple):
        return all(type(each) is int for each in value)
    return type(value) is int
