"""ONNX Runtime's quantisers, each with single nodes left out on request."""

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.registry import (
    IntegerOpsRegistry,
    QDQRegistry,
    QLinearOpsRegistry,
)

from distillfarm.compression.datasets import Array
from distillfarm.compression.passes import onnx_files
from distillfarm.compression.passes.calibration import Batches
from distillfarm.compression.passes.int4 import Int4Settings
from distillfarm.compression.passes.int8_dynamic import Int8DynamicSettings
from distillfarm.compression.passes.int8_static import Int8StaticSettings
from distillfarm.compression.passes.quantisers import NOTHING
from distillfarm.compression.protocols import PassRefused

_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
_PRODUCTS = frozenset({"Gemm", "MatMul"})
# What only moves numbers is quantised or not as its surroundings are.
_MOVERS = frozenset(
    {"Concat", "Flatten", "MaxPool", "Pad", "Reshape", "Split", "Squeeze", "Transpose", "Unsqueeze"}
)
# Their INT8 kernels are slower than FP32 or do not exist, and they lose accuracy.
_WIDE_RANGES = frozenset({"LayerNormalization", "Softmax"})
_WITHOUT_CONVOLUTIONS = _PRODUCTS | {"Clip", "Gather", "Relu"}
_CONVOLUTION_SHARE = 0.5
_PERCENT = 100
_INT4_OPSET = 21
_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}


class _OnnxQuantiser:
    """A prepared file; ``layers`` are the nodes of ``kinds`` that read weights or compute."""

    remedy = ""

    def __init__(self, path: Path, kinds: Collection[str], *, constant_weights: bool) -> None:
        self._path = path
        graph = onnx.load(path).graph
        constants = {each.name for each in graph.initializer}
        self.layers: Sequence[str] = tuple(
            node.name
            for node in graph.node
            if node.op_type in kinds
            and node.op_type not in _MOVERS
            and (not constant_weights or constants.intersection(node.input))
        )

    def before(self) -> Counter[str]:
        """Numbers of float matrices by operator."""
        return onnx_files.float_weights(self._path)

    def left(self, path: Path) -> Counter[str]:
        """The same of a quantised file."""
        return onnx_files.float_weights(path)


class OnnxStatic(_OnnxQuantiser):
    """Quantise-dequantise pairs with UINT8 activations and INT8 weights.

    Those types run fast on x86 and on ARM; INT8 activations are what ARM's kernels like as well,
    but on x86 they made matrix products slower than FP32. Where no convolution ties operators
    together, only matrix products and lookups are quantised, from FP32 to FP32: a transformer
    encoder was faster and closer so than with every operator in INT8. Nodes between quantised
    ones lose by rounding and win little.
    """

    remedy = "use fp16, or int8_dynamic for LSTM"

    def __init__(
        self, source: Path, settings: Int8StaticSettings, batches: Batches, folder: Path
    ) -> None:
        path = onnx_files.prepared(source, folder)
        present = {node.op_type for node in onnx.load(path).graph.node}
        kinds = frozenset(QLinearOpsRegistry) | frozenset(QDQRegistry)
        everything = settings.operators == "all"
        if not everything:
            kinds = kinds - _WIDE_RANGES if present & _CONVOLUTIONS else _WITHOUT_CONVOLUTIONS
        super().__init__(path, kinds, constant_weights=False)
        self._kinds, self._settings, self._batches = kinds, settings, batches
        self._ranges = folder / "ranges.json"
        self._options: dict[str, Any] = {
            "ActivationSymmetric": settings.activations == "symmetric",
            "CalibPercentile": settings.percentile,
        }
        if not everything:
            self._options["MatMulConstBOnly"] = True
            self._options["OpTypesToExcludeOutputQuantization"] = sorted(_PRODUCTS)

    def quantise(self, destination: Path, kept: Collection[str] = NOTHING) -> None:
        """Calibrate, the first time, and write the file."""
        symmetric = self._settings.activations == "symmetric"
        quantize_static(
            self._path,
            destination,
            _Reader(self._batches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=sorted(self._kinds),
            nodes_to_exclude=sorted(kept),
            per_channel=self._settings.weights == "channel",
            reduce_range=self._settings.reduce_range == "yes",
            # Symmetric means a zero point of 0, which only the signed type has.
            activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=_METHODS[self._settings.calibration],
            calibration_cache_path=self._ranges,
            extra_options=dict(self._options),
        )
        onnx_files.tidy(destination)


class OnnxDynamic(_OnnxQuantiser):
    """INT8 weights for matrix products, lookups and LSTMs; never for convolutions."""

    remedy = "use int8_static for Conv, fp16 for GRU and RNN"

    def __init__(self, source: Path, settings: Int8DynamicSettings, folder: Path) -> None:
        path = onnx_files.with_matmuls(onnx_files.prepared(source, folder))
        self._kinds = frozenset(IntegerOpsRegistry) - _CONVOLUTIONS - _MOVERS
        super().__init__(path, self._kinds, constant_weights=True)
        _refuse_convolutions(self.before())
        self._settings = settings

    def quantise(self, destination: Path, kept: Collection[str] = NOTHING) -> None:
        """Write the file."""
        quantize_dynamic(
            self._path,
            destination,
            op_types_to_quantize=sorted(self._kinds),
            nodes_to_exclude=sorted(kept),
            per_channel=self._settings.weights == "channel",
            reduce_range=self._settings.reduce_range == "yes",
            weight_type=QuantType.QInt8,
        )
        onnx_files.tidy(destination)


class OnnxBlockwise(_OnnxQuantiser):
    """INT4 weights in blocks: MatMulNBits, and GatherBlockQuantized for lookups."""

    remedy = "use int8_static for Conv, fp16 for GRU, LSTM and RNN"

    def __init__(self, source: Path, settings: Int4Settings, folder: Path) -> None:
        path = onnx_files.with_matmuls(onnx_files.prepared(source, folder))
        self._kinds: tuple[str, ...] = ("MatMul",)
        if onnx_files.float_weights(path)["Gather"]:
            # Tensors of INT4, which lookups read, exist since this version.
            path = onnx_files.with_matmuls(onnx_files.prepared(source, folder, _INT4_OPSET))
            self._kinds = ("Gather", "MatMul")
        super().__init__(path, self._kinds, constant_weights=True)
        self._settings = settings

    def quantise(self, destination: Path, kept: Collection[str] = NOTHING) -> None:
        """Write the file."""
        # The module's import sets the root logger to INFO, unless somebody has set it up before.
        logging.basicConfig(level=logging.WARNING)
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

        graph = onnx.load(self._path).graph
        floats = {
            each.name
            for each in graph.initializer
            if each.data_type == onnx.TensorProto.FLOAT and len(each.dims) > 1
        }
        # A Gather of shapes or of single numbers is no lookup of weights.
        others = {node.name for node in graph.node if not floats.intersection(node.input)}
        quantiser = MatMulNBitsQuantizer(
            onnx.load(self._path),
            bits=4,
            block_size=int(self._settings.block),
            is_symmetric=self._settings.weights == "symmetric",
            accuracy_level=4 if self._settings.compute == "int8" else None,
            nodes_to_exclude=sorted(others.union(kept)),
            op_types_to_quantize=self._kinds,
            quant_axes=(("MatMul", 0), ("Gather", 1)),
        )
        quantiser.process()
        onnx.save(quantiser.model.model, destination)
        onnx_files.tidy(destination)


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # untyped library
    def __init__(self, batches: Batches) -> None:
        self._left = iter(batches)

    def get_next(self) -> dict[str, Array] | None:
        return next(self._left, None)


def _refuse_convolutions(weights: Counter[str]) -> None:
    convolutions = sum(weights[name] for name in _CONVOLUTIONS)
    share = convolutions / max(1, weights.total())
    if share > _CONVOLUTION_SHARE:
        raise PassRefused(
            f"{share * _PERCENT:.0f} % of the weights are in Conv, which ONNX Runtime runs an"
            " order of magnitude slower in dynamic INT8 than in FP32; use int8_static"
        )
