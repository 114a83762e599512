"""Reads a PyTorch state dict and packs it, with its owner's factory, as a TORCH_MODULE."""

import inspect
import pickle
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from distillfarm.compression import data_files, torch_models
from distillfarm.compression.npz import Array
from distillfarm.compression.protocols import WorkingModel
from distillfarm.compression.readers import Source, archives
from distillfarm.compression.torch_models import ModuleSpec, TorchModel
from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.model import ModelFormat, Signature, TensorSpec

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_SHOWN_KEYS = 3
_TRIED_BATCH = 2


def read(source: Source) -> WorkingModel:
    """The module in the form that passes take; runs the owner's factory."""
    if source.factory is None:
        raise ModelRejected(
            "a PyTorch state dict needs the code that builds its module: --factory file.py:function"
        )
    weights = _weights(source.path)
    code = source.factory.read_bytes()
    module = torch_models.run_factory(code, source.factory_function)
    _load(module, weights)
    examples = _examples(module, source)
    spec = ModuleSpec(_signature(module, examples), factory_function=source.factory_function)
    packed = source.folder / "module.zip"
    torch_models.write(TorchModel(module, spec, code), packed)
    return WorkingModel(packed, ModelFormat.TORCH_MODULE)


def _weights(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        head = file.read(9)
    try:
        if head[8:] == b"{":
            return load_file(path)
        if head.startswith(b"PK"):
            archives.members(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelRejected(
            "the file holds pickled code, which is never run; save model.state_dict() instead"
            f" ({str(error).splitlines()[-1]})"
        ) from error
    except (
        RuntimeError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        EOFError,
        OSError,
        SafetensorError,
    ) as error:
        raise ModelRejected(f"the state dict is damaged: {error}") from error
    return _checked(loaded)


def _checked(loaded: object) -> dict[str, Tensor]:
    for key in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not loaded:
        raise ModelRejected("the file holds no state dict; save model.state_dict()")
    for name, tensor in loaded.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ModelRejected(f"the state dict holds {type(tensor).__name__}, not only tensors")
        if tensor.layout is not torch.strided or tensor.device.type != "cpu":
            raise ModelRejected(f"weight {name!r} is no dense tensor")
        # A stride of 0 declares terabytes on top of four bytes.
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ModelRejected(
                f"weight {name!r} declares {tensor.numel():,} values but does not hold them"
            )
    return dict(loaded)


def _load(module: nn.Module, weights: dict[str, Tensor]) -> None:
    try:
        missing, unexpected = module.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise ModelRejected(
            f"the weights do not fit the factory's module: {str(error).splitlines()[-1].strip()}"
        ) from error
    for text, keys in (("lacks", missing), ("has no place for", unexpected)):
        if keys:
            side = "state dict" if text == "lacks" else "factory's module"
            shown = ", ".join(keys[:_SHOWN_KEYS])
            raise ModelRejected(f"the {side} {text} {len(keys)} weights: {shown}")
    module.eval()


def _examples(module: nn.Module, source: Source) -> dict[str, Tensor]:
    """One sample of each input, by the names of ``forward``'s arguments, in their order."""
    given = _given_examples(source)
    wanted = [
        name
        for name, each in inspect.signature(module.forward).parameters.items()
        if each.default is inspect.Parameter.empty
        and each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    if isinstance(given, Mapping):
        named = {str(name): _tensor(each) for name, each in given.items()}
        if set(wanted) <= set(named):
            return {name: named[name] for name in wanted}
        if len(named) == len(wanted) == 1:
            return named
        raise ModelRejected(
            f"forward takes {', '.join(wanted)}, but the inputs given are {', '.join(named)}"
        )
    arrays = list(given) if isinstance(given, Sequence) else [given]
    if len(arrays) < len(wanted):
        raise ModelRejected(f"forward takes {', '.join(wanted)}; {len(arrays)} inputs are given")
    return dict(zip(wanted, map(_tensor, arrays), strict=False))


def _given_examples(source: Source) -> object:
    # Where run_factory has put the user's file.
    function = getattr(sys.modules[torch_models.FACTORY_MODULE], "example_inputs", None)
    if function is not None:
        try:
            return function()
        except Exception as error:
            raise ModelRejected(
                f"example_inputs() of the factory's file failed: {type(error).__name__}: {error}"
            ) from error
    if source.data is not None:
        return _first_samples(source.data)
    raise ModelRejected(
        "the shapes of the inputs are not known; add to the factory's file a function"
        " example_inputs() that returns a dict of tensors by argument name"
    )


def _first_samples(data: Path) -> dict[str, Array]:
    try:
        with np.load(data, allow_pickle=False) as archive:
            names = [name for name in archive.files if not data_files.is_ours(name)]
            return {name: archive[name][:1] for name in names}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, TypeError) as error:
        raise ModelRejected(f"the data are no readable .npz: {error}") from error


def _tensor(value: object) -> Tensor:
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if not isinstance(value, Tensor) or value.ndim == 0:
        raise ModelRejected(f"an example input is {type(value).__name__}, no array with a batch")
    return value


def _signature(module: nn.Module, examples: Mapping[str, Tensor]) -> Signature:
    """What goes in and comes out, found by running the module on one sample and on two."""
    one = _outputs(module, [each[:1] for each in examples.values()])
    try:
        two = _outputs(
            module, [each[:1].repeat_interleave(_TRIED_BATCH, 0) for each in examples.values()]
        )
        free = all(len(each) == _TRIED_BATCH for each in two.values())
    except ModelRejected:
        free = False
    return Signature(
        tuple(_spec(name, each, free) for name, each in examples.items()),
        tuple(_spec(name, each, free) for name, each in one.items()),
    )


def _outputs(module: nn.Module, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
    try:
        with torch.inference_mode():
            given = module(*inputs)
    except Exception as error:
        raise ModelRejected(
            f"the module does not run on its example inputs: {type(error).__name__}: {error}"
        ) from error
    if isinstance(given, Mapping):
        named = {str(name): each for name, each in given.items()}
    else:
        listed = given if isinstance(given, list | tuple) else [given]
        named = {f"output_{index}": each for index, each in enumerate(listed)}
    for name, each in named.items():
        if not isinstance(each, Tensor) or each.ndim == 0:
            raise ModelRejected(f"output {name!r} is {type(each).__name__}, no tensor with a batch")
    return named


def _spec(name: str, tensor: Tensor, free: bool) -> TensorSpec:
    dtype = str(tensor.dtype).removeprefix("torch.")
    return TensorSpec(name, dtype, (-1 if free else 1, *tensor.shape[1:]))
