"""Counts a TensorFlow SavedModel from the graph of its serving signature."""

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from distillfarm.compression import keras_models
from distillfarm.compression.analysis.layers import Facts, Layer, by_bytes, sample_shape
from distillfarm.compression.protocols import WorkingModel
from distillfarm.domain.model import Signature

_VIEWS = frozenset({"ExpandDims", "Reshape", "Squeeze"})
# They read the rows that they are asked for, not the table.
_LOOKUPS = frozenset({"Gather", "GatherNd", "GatherV2", "ResourceGather"})
_FREE_OF_COST = ("Const", "Identity", "NoOp", "Placeholder")


def facts(model: WorkingModel, signature: Signature) -> Facts:
    """Take a SavedModel apart, for one sample."""
    batch = max(1, signature.inputs[0].shape[0])
    with TemporaryDirectory() as folder:
        loaded = tf.saved_model.load(str(keras_models.unpack_saved_model(model.path, Path(folder))))
        served = loaded.signatures["serving_default"]
        graph = _for_one_sample(served, signature)
    used: set[str] = set()
    layers = [
        _layer(each, batch, used)
        for each in graph.get_operations()
        if each.type not in _FREE_OF_COST
    ]
    sizes: Counter[str] = Counter()
    parameters = 0
    for each in graph.get_operations():
        if each.type == "Const" and _is_weight(each):
            parameters += math.prod(each.outputs[0].shape)
            sizes[each.outputs[0].dtype.name] += _bytes(each.outputs[0])
    return Facts(parameters, tuple(layers), by_bytes(sizes))


def _for_one_sample(served: Any, signature: Signature) -> Any:
    """The graph with its variables as constants and its inputs of one sample."""
    function = tf.function(served).get_concrete_function(
        **{
            each.name: tf.TensorSpec(sample_shape(each.shape), each.dtype, each.name)
            for each in signature.inputs
        }
    )
    return convert_variables_to_constants_v2(function).graph


def _layer(node: Any, batch: int, used: set[str]) -> Layer:
    """``used`` are the constants that a layer has used before."""
    sources = {each.name: each for each in map(_source, node.inputs) if each.type == "Const"}
    weights = {name: each.outputs[0] for name, each in sources.items() if _is_weight(each)}
    others = [each for each in node.inputs if _source(each).type != "Const"]
    read, made = sum(map(_bytes, weights.values())), sum(map(_bytes, node.outputs))
    fresh = [each for name, each in weights.items() if name not in used]
    used.update(weights)
    return Layer(
        name=node.name,
        operator=node.type,
        macs=_macs(node) // batch,
        weight_bytes=min(read, made) if node.type in _LOOKUPS else read,
        activation_bytes=(0 if node.type in _VIEWS else (made + sum(map(_bytes, others))) // batch),
        parameters=sum(math.prod(each.shape) for each in fresh),
        held_bytes=sum(map(_bytes, fresh)),
    )


def _macs(node: Any) -> int:
    cost = _COSTS.get(node.type)
    shapes = [each.shape for each in (*node.inputs, *node.outputs)]
    if cost is None or not all(each.is_fully_defined() for each in shapes):
        return 0
    return int(math.prod(node.outputs[0].shape)) * cost(node)


# How many multiply-accumulates each value of the first output takes.
_COSTS: dict[str, Callable[[Any], int]] = {
    "BatchMatMulV2": lambda node: int(node.inputs[0].shape[-2 if node.get_attr("adj_x") else -1]),
    "Conv2D": lambda node: math.prod(node.inputs[1].shape[:-1]),
    "Conv3D": lambda node: math.prod(node.inputs[1].shape[:-1]),
    "DepthwiseConv2dNative": lambda node: math.prod(node.inputs[1].shape[:2]),
    "MatMul": lambda node: int(node.inputs[0].shape[0 if node.get_attr("transpose_a") else 1]),
}


def _source(tensor: Any) -> Any:
    node = tensor.op
    while node.type == "Identity":
        node = node.inputs[0].op
    return node


def _is_weight(node: Any) -> bool:
    tensor = node.outputs[0]
    return len(tensor.shape) > 0 and bool(tensor.dtype.is_floating)


def _bytes(tensor: Any) -> int:
    if not tensor.shape.is_fully_defined() or not tensor.dtype.size:
        return 0
    return int(math.prod(tensor.shape)) * int(tensor.dtype.size)
