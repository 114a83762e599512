"""ai-edge-quantizer's techniques, each with single operators left out on request."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from ai_edge_quantizer import calibrator, qtyping, quantizer, recipe_manager
from ai_edge_quantizer.utils import qsv_utils

from distillfarm.compression.datasets import Array
from distillfarm.compression.passes import tflite_files
from distillfarm.compression.passes.int4 import Int4Settings
from distillfarm.compression.passes.int8_dynamic import Int8DynamicSettings
from distillfarm.compression.passes.int8_static import Int8StaticSettings
from distillfarm.compression.passes.quantisers import NOTHING
from distillfarm.compression.protocols import PassRefused

_Op = qtyping.TFLOperationName
_Granularity = qtyping.QuantGranularity
_EVERYWHERE = ".*"
_CONVOLUTIONS = frozenset({_Op.CONV_2D, _Op.CONV_2D_TRANSPOSE, _Op.DEPTHWISE_CONV_2D})
_MOVERS = frozenset(
    {
        _Op.BROADCAST_TO,
        _Op.CONCATENATION,
        _Op.GATHER,
        _Op.PACK,
        _Op.PAD,
        _Op.PADV2,
        _Op.RESHAPE,
        _Op.SLICE,
        _Op.SPLIT,
        _Op.STRIDED_SLICE,
        _Op.TRANSPOSE,
        _Op.UNPACK,
    }
)
_GRANULARITIES = {"channel": _Granularity.CHANNELWISE, "tensor": _Granularity.TENSORWISE}
_BLOCKS = {
    "32": _Granularity.BLOCKWISE_32,
    "64": _Granularity.BLOCKWISE_64,
    "128": _Granularity.BLOCKWISE_128,
    "256": _Granularity.BLOCKWISE_256,
}


class TfLiteQuantiser:
    """A recipe of ai-edge-quantizer on a file, with ranges if it needs them."""

    def __init__(self, source: Path, recipe: Any, remedy: str, ranges: Any = None) -> None:
        self._source, self._recipe, self._ranges = source, recipe, ranges
        self.remedy = remedy
        manager = _managed(recipe)
        self.layers: Sequence[str] = tuple(
            dict.fromkeys(
                each.name
                for each in tflite_files.operators(source)
                if each.kind not in _MOVERS and _touched(manager, each)
            )
        )

    def before(self) -> Counter[str]:
        """Numbers of float matrices by operator."""
        return tflite_files.float_weights(self._source)

    def left(self, path: Path) -> Counter[str]:
        """The same of a quantised file."""
        return tflite_files.float_weights(path)

    def quantise(self, destination: Path, kept: Collection[str] = NOTHING) -> None:
        """Write the file."""
        manager = _managed(self._recipe)
        for name in sorted(kept):
            manager.add_quantization_config(
                tflite_files.scope(name),
                _Op.ALL_SUPPORTED,
                algorithm_key=quantizer.AlgorithmName.NO_QUANTIZE,
            )
        engine = quantizer.Quantizer(str(self._source), manager.get_quantization_recipe())
        result = engine.quantize(self._ranges, enable_progress_report=False)
        destination.write_bytes(result.quantized_model)


def static(
    source: Path,
    settings: Int8StaticSettings,
    batches: Iterable[dict[str, Array]],
    threads: int,
) -> TfLiteQuantiser:
    """INT8 for weights and activations, ranges from the plain minimum and maximum.

    The library's default, a moving average of the ranges, loses accuracy. Where no convolution
    ties operators together, only fully connected layers are quantised: with every operator in
    INT8 a transformer encoder ran slower than in FP32, since LiteRT's fast kernels lack some.

    Raises:
        PassRefused: a setting that LiteRT does not have; the text names it.
    """
    if settings.calibration != "minmax":
        raise PassRefused(
            f"calibration={settings.calibration} is ONNX Runtime's alone; ai-edge-quantizer takes"
            " minmax"
        )
    if settings.reduce_range == "yes":
        raise PassRefused("reduce_range=yes is ONNX Runtime's alone; LiteRT's kernels need none")
    config = qtyping.OpQuantizationConfig(
        activation_tensor_config=qtyping.TensorQuantizationConfig(
            num_bits=8, symmetric=settings.activations == "symmetric"
        ),
        weight_tensor_config=qtyping.TensorQuantizationConfig(
            num_bits=8, symmetric=True, granularity=_GRANULARITIES[settings.weights]
        ),
        compute_precision=qtyping.ComputePrecision.INTEGER,
    )
    manager = recipe_manager.RecipeManager()
    kinds = {each.kind for each in tflite_files.operators(source)}
    if settings.operators == "all" or kinds & _CONVOLUTIONS:
        manager.add_quantization_config(_EVERYWHERE, _Op.ALL_SUPPORTED, config)
    else:
        manager.add_quantization_config(_EVERYWHERE, _Op.FULLY_CONNECTED, config)
    # Lookups have no static kernel; as weights alone they shrink all the same.
    manager.add_dynamic_config(_EVERYWHERE, _Op.EMBEDDING_LOOKUP, 8)
    watcher = calibrator.Calibrator(
        str(source), num_threads=threads, qsv_update_func=qsv_utils.min_max_update
    )
    watcher.calibrate({tflite_files.signature_key(source): batches}, manager)
    return TfLiteQuantiser(
        source, manager.get_quantization_recipe(), "use fp16", watcher.get_model_qsvs()
    )


def dynamic(source: Path, settings: Int8DynamicSettings) -> TfLiteQuantiser:
    """INT8 weights; activations quantised on the fly, or left in FP32 (``compute=float``).

    Raises:
        PassRefused: a setting that LiteRT does not have; the text names it.
    """
    if settings.reduce_range == "yes":
        raise PassRefused("reduce_range=yes is ONNX Runtime's alone; LiteRT's kernels need none")
    manager = recipe_manager.RecipeManager()
    add = (
        manager.add_weight_only_config
        if settings.compute == "float"
        else manager.add_dynamic_config
    )
    add(_EVERYWHERE, _Op.ALL_SUPPORTED, 8, _GRANULARITIES[settings.weights])
    return TfLiteQuantiser(source, manager.get_quantization_recipe(), "use fp16")


def int4(source: Path, settings: Int4Settings) -> TfLiteQuantiser:
    """INT4 weights: in blocks for fully connected layers and lookups, by channel for convolutions.

    Raises:
        PassRefused: a setting that LiteRT does not have; the text names it.
    """
    if settings.weights != "symmetric":
        raise PassRefused("weights=asymmetric is ONNX Runtime's alone; LiteRT's are symmetric")
    granularity = _BLOCKS.get(settings.block)
    if granularity is None:
        raise PassRefused(
            f"block={settings.block} is ONNX Runtime's alone; LiteRT takes {', '.join(_BLOCKS)}"
        )
    if settings.compute != "float":
        raise PassRefused(f"compute={settings.compute} is ONNX Runtime's alone")
    manager = recipe_manager.RecipeManager()
    manager.add_dynamic_config(_EVERYWHERE, _Op.CONV_2D, 4)
    blockwise = (_Op.FULLY_CONNECTED, _Op.EMBEDDING_LOOKUP)
    for kind in blockwise:
        manager.add_dynamic_config(_EVERYWHERE, kind, 4, granularity)
    for each in tflite_files.operators(source):
        if each.kind in blockwise and each.width % int(settings.block):
            manager.add_dynamic_config(tflite_files.scope(each.name), each.kind, 4)
    return TfLiteQuantiser(source, manager.get_quantization_recipe(), "use int8_dynamic or fp16")


def _managed(recipe: Any) -> recipe_manager.RecipeManager:
    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(recipe)
    return manager


def _touched(manager: recipe_manager.RecipeManager, operator: tflite_files.Operator) -> bool:
    technique, _ = manager.get_quantization_configs(operator.kind, f"{operator.name};")
    return bool(technique != quantizer.AlgorithmName.NO_QUANTIZE)
