"""Reads ONNX: every tensor really there, no file named outside the model's own folder."""

import math
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, EncodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

from distillfarm.compression.protocols import WorkingModel
from distillfarm.compression.readers import Source, archives
from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.model import ModelFormat

_TYPED_FIELDS = (
    "float_data",
    "double_data",
    "int32_data",
    "int64_data",
    "uint64_data",
    "string_data",
)


def read(source: Source) -> WorkingModel:
    """A file as it is, or a folder (as a tar) with its external data taken in."""
    with source.path.open("rb") as file:
        is_folder = file.read(262)[257:] == b"ustar"
    path = _unpacked(source) if is_folder else source.path
    model = _parse(path)
    outside = [each for each in tensors(model) if uses_external_data(each)]
    if outside and not is_folder:
        where = _location(outside[0])
        raise ModelRejected(
            f"its weights are outside the file, in {where!r}; give the folder that holds both"
        )
    for each in outside:
        _take_in(each, path.parent)
    for each in tensors(model):
        _check_size(each)
    if not outside:
        return WorkingModel(path, ModelFormat.ONNX)
    whole = source.folder / "whole.onnx"
    try:
        whole.write_bytes(model.SerializeToString())
    except (EncodeError, ValueError) as error:
        raise ModelRejected(f"with its weights the model exceeds 2 GiB: {error}") from error
    return WorkingModel(whole, ModelFormat.ONNX)


def tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every tensor anywhere in the model: initialisers, constants, subgraphs, functions."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _of_node(node)
    for training in model.training_info:
        yield from _of_graph(training.initialization)
        yield from _of_graph(training.algorithm)


def _of_graph(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _of_node(node)


def _of_node(node: NodeProto) -> Iterator[TensorProto]:
    for attribute in node.attribute:
        yield from of_attribute(attribute)
        for graph in (attribute.g, *attribute.graphs):
            yield from _of_graph(graph)


def of_attribute(attribute: AttributeProto) -> Iterator[TensorProto]:
    """The tensors in an attribute itself, its subgraphs apart."""
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
        if sparse.HasField("values"):
            yield from (sparse.values, sparse.indices)


def _parse(path: Path) -> ModelProto:
    try:
        model = onnx.load_model(path, format="protobuf", load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise ModelRejected(f"the ONNX file is damaged: {error}") from error
    if not model.graph.node and not model.graph.output:
        raise ModelRejected("the ONNX file holds an empty graph")
    return model


def _unpacked(source: Source) -> Path:
    folder = source.folder / "onnx"
    folder.mkdir()
    archives.unpack_tar(source.path, folder)
    found = sorted(folder.rglob("*.onnx"))
    if len(found) != 1:
        raise ModelRejected(f"the folder holds {len(found)} .onnx files; give one")
    return found[0]


def _location(tensor: TensorProto) -> str:
    return next((each.value for each in tensor.external_data if each.key == "location"), "")


def _take_in(tensor: TensorProto, folder: Path) -> None:
    where = Path(_location(tensor))
    target = folder / where
    if where.is_absolute() or ".." in where.parts or not target.is_file() or target.is_symlink():
        raise ModelRejected(
            f"the weights of {tensor.name!r} are in {str(where)!r}, which is no file of the"
            " model's folder"
        )
    try:
        load_external_data_for_tensor(tensor, str(folder))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelRejected(f"the weights of {tensor.name!r} are unreadable: {error}") from error
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]


def _check_size(tensor: TensorProto) -> None:
    """Refuse a tensor that declares more than it holds, before anyone allocates for it."""
    if any(size < 0 for size in tensor.dims):
        raise ModelRejected(f"tensor {tensor.name!r} has a negative size")
    declared = math.prod(tensor.dims)
    held_bytes = len(tensor.raw_data)
    held = sum(len(getattr(tensor, field)) for field in _TYPED_FIELDS)
    # Four-bit values lie two in a byte; a complex number takes two fields.
    if declared > 2 * max(held_bytes, held) and declared > 0:
        raise ModelRejected(
            f"tensor {tensor.name!r} declares {declared:,} values but holds"
            f" {max(held_bytes, held):,} bytes of them"
        )
