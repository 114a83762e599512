"""``torch.export`` programs as their owner handed them in."""

import pickle
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.export import ExportedProgram

from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.model import Signature, TensorSpec


def read(path: Path) -> ExportedProgram:
    """Load a program; parsing one may fill memory or crash, so only in a sandbox.

    Raises:
        ModelRejected: no such file, or one with pickled code in it.
    """
    try:
        with path.open("rb") as file:
            return torch.export.load(file)
    except (RuntimeError, ValueError, KeyError, OSError, pickle.UnpicklingError) as error:
        raise ModelRejected(f"torch.export cannot load the program: {error}") from error


def signature(program: ExportedProgram) -> Signature:
    """Inputs by their argument's name; outputs by their key in a dict, else ``output_<n>``."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    inputs = [str(name) for name in program.graph_signature.user_inputs]
    outputs = [str(name) for name in program.graph_signature.user_outputs]
    out_spec = program.call_spec.out_spec
    keys: Sequence[object] = ()
    if out_spec is not None and out_spec.type is dict:
        keys = out_spec.context
    names = map(str, keys) if keys else (f"output_{index}" for index in range(len(outputs)))
    return Signature(
        tuple(_spec(name, values[name]) for name in inputs),
        tuple(_spec(name, values[node]) for name, node in zip(names, outputs, strict=True)),
    )


def _spec(name: str, value: object) -> TensorSpec:
    if not isinstance(value, torch.Tensor):
        raise ModelRejected(f"{name} of the program is no tensor")
    # A dimension that is free is a symbol, no int.
    shape = tuple(size if isinstance(size, int) else -1 for size in value.shape)
    return TensorSpec(name, str(value.dtype).removeprefix("torch."), shape)
