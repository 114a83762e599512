"""Writes TensorFlow Lite's own metadata into a .tflite file: who made it, what goes in and out."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

_ENTRY = "TFLITE_METADATA"
_IDENTIFIER = b"M001"
# Slots of the tables in TensorFlow Lite's metadata_schema.fbs, version 1.5.
_MODEL_FIELDS, _NAME, _DESCRIPTION, _VERSION, _SUBGRAPHS, _AUTHOR = 8, 0, 1, 2, 3, 4
_SUBGRAPH_FIELDS, _INPUTS, _OUTPUTS = 10, 2, 3
_TENSOR_FIELDS = 7
_OFFSET_BYTES = 4


def describe(path: Path) -> None:
    """Name the model, its maker, and the first subgraph's inputs and outputs after its signature.

    Phone tools read this (metadata_schema.fbs of TensorFlow Lite); a file's earlier metadata of
    this kind are replaced.
    """
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    inputs, outputs = _names(model)
    metadata = [each for each in model.metadata or [] if _text(each.name) != _ENTRY]
    entry = schema.MetadataT()
    entry.name, entry.buffer = _ENTRY, len(model.buffers)
    content = schema.BufferT()
    content.data = list(_packed(inputs, outputs))
    model.buffers.append(content)
    model.metadata = [*metadata, entry]
    builder = flatbuffers.Builder(path.stat().st_size)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())


def names(path: Path) -> tuple[list[str], list[str]]:
    """The names of the file's inputs and outputs, those of its signature where it has one."""
    return _names(schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0))


def _names(model: Any) -> tuple[list[str], list[str]]:
    """Names of the inputs and outputs in the order of the subgraph, the signature's first."""
    graph = model.subgraphs[0]
    signature = (model.signatureDefs or [None])[0]
    sides = ((graph.inputs, "inputs"), (graph.outputs, "outputs"))
    found = []
    for indices, side in sides:
        listed = getattr(signature, side) if signature else []
        named = {each.tensorIndex: _text(each.name) for each in listed or []}
        found.append([named.get(i, _text(graph.tensors[i].name)) for i in map(int, indices)])
    return found[0], found[1]


def _packed(inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    builder = flatbuffers.Builder()
    sides = {
        slot: _vector(builder, [_table(builder, _TENSOR_FIELDS, {_NAME: name}) for name in names])
        for slot, names in ((_INPUTS, inputs), (_OUTPUTS, outputs))
    }
    subgraph = _table(builder, _SUBGRAPH_FIELDS, sides)
    fields: dict[int, str | int] = {
        _NAME: "distillfarm model",
        _DESCRIPTION: f"{', '.join(inputs)} -> {', '.join(outputs)}",
        _VERSION: version("distillfarm"),
        _AUTHOR: "distillfarm",
        _SUBGRAPHS: _vector(builder, [subgraph]),
    }
    builder.Finish(_table(builder, _MODEL_FIELDS, fields), _IDENTIFIER)
    return bytes(builder.Output())


def _table(builder: flatbuffers.Builder, slots: int, fields: Mapping[int, str | int]) -> int:
    """A table of offsets; text is stored first, since tables cannot be nested while written."""
    offsets = {
        slot: builder.CreateString(each) if isinstance(each, str) else each
        for slot, each in fields.items()
    }
    builder.StartObject(slots)
    for slot, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    return int(builder.EndObject())


def _vector(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(_OFFSET_BYTES, len(offsets), _OFFSET_BYTES)
    for each in reversed(offsets):
        builder.PrependUOffsetTRelative(each)
    return int(builder.EndVector())


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
