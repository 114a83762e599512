"""Compresses the weights of Core ML files; their arithmetic stays in floating point.

Nothing here can run the result. What was lost is read off the weights instead: each is unpacked
again and compared with what it was, and the furthest off is noted.
"""

import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import coremltools
import numpy as np
from coremltools.optimize import coreml as optimise

from distillfarm.compression import coreml_models
from distillfarm.compression.protocols import PassRefused, Workspace

# As a request to the converter: leave every type as it is.
_AS_IT_IS = coremltools.precision.FLOAT32
# Smaller tensors are scales, axes and paddings: to compress them saves nothing.
_MIN_WEIGHTS = 512
_PERCENT, _TINY = 100, 1e-30
# What coremltools has changed bears a suffix, one for each change.
_MARKS = re.compile("(_quantized|_palettized|_sparsified)+$")
_TABLES_AND_MASKS = frozenset({"constexpr_lut_to_dense", "constexpr_sparse_to_dense"})
_INT8 = "constexpr_affine_dequantize"


def int8_weights(source: Path, destination: Path, workspace: Workspace) -> None:
    """Linear, symmetric INT8 with a scale for each output channel; iOS 16 and later."""
    config = optimise.OpLinearQuantizerConfig(
        mode="linear_symmetric", dtype="int8", weight_threshold=_MIN_WEIGHTS
    )
    _rewrite(source, destination, workspace, lambda model: _quantised(model, config))


def int4_weights(source: Path, destination: Path, workspace: Workspace, block: int) -> None:
    """Linear, symmetric INT4 with a scale for each ``block`` weights; iOS 18 and later."""
    config = optimise.OpLinearQuantizerConfig(
        mode="linear_symmetric",
        dtype="int4",
        granularity="per_block",
        block_size=block,
        weight_threshold=_MIN_WEIGHTS,
    )

    def quantise(model: Any) -> Any:
        return _quantised(_raised(model, coremltools.target.iOS18), config)

    _rewrite(source, destination, workspace, quantise)
    workspace.notes.append("the file asks for iOS 18 or macOS 15, which blocks of INT4 need")


def float16(source: Path, destination: Path, workspace: Workspace) -> None:
    """FP16 for weights and arithmetic, which is what GPUs and the Neural Engine compute in."""
    workspace.report(0.0, "lowering to FP16")
    with TemporaryDirectory(dir=workspace.folder) as scratch:
        model = coreml_models.load(source, Path(scratch))
        changed = _lowered(model, _target(model), coremltools.precision.FLOAT16)
        for name, values in _weights(changed).items():
            if not np.isfinite(values).all():
                raise PassRefused(f"weight {name} holds values that FP16 cannot, beyond 65,504")
        coreml_models.write(changed, destination)


def deployed(source: Path, destination: Path, workspace: Workspace, ios: int) -> None:
    """The same program for iOS ``ios`` and later, with the operators that it brought."""
    workspace.report(0.0, f"lowering for iOS {ios}")
    with TemporaryDirectory(dir=workspace.folder) as scratch:
        model = coreml_models.load(source, Path(scratch))
        wanted = coremltools.target[f"iOS{ios}"]
        if wanted.value < _target(model).value:
            raise PassRefused(
                f"the file needs {_target(model).name} already, more than iOS {ios}; put"
                " deployment before the pass that raised it, or leave it out"
            )
        coreml_models.write(_raised(model, wanted), destination)


def packed(model: Any) -> Any:
    """Weights of few values as tables, those of mostly zeros as masks: nothing is lost by it.

    That is how a clustered and a sparse module stay small in the file. Tables come first, since
    they hold the zeros as well.
    """
    tables = optimise.OpPalettizerConfig(mode="unique", weight_threshold=_MIN_WEIGHTS)
    masks = optimise.OpThresholdPrunerConfig(
        threshold=float(np.finfo(np.float32).tiny),
        minimum_sparsity_percentile=0.5,
        weight_threshold=_MIN_WEIGHTS,
    )
    clustered = optimise.palettize_weights(model, _everywhere(tables))
    return optimise.prune_weights(clustered, _everywhere(masks))


def _rewrite(
    source: Path, destination: Path, workspace: Workspace, change: Callable[[Any], Any]
) -> None:
    workspace.report(0.0, "reading the Core ML program")
    with TemporaryDirectory(dir=workspace.folder) as scratch:
        model = coreml_models.load(source, Path(scratch))
        changed = change(model)
        workspace.report(0.8, "comparing the weights")
        errors = _errors(_weights(model), _weights(changed))
        if not errors:
            raise PassRefused(f"no weight of the program has {_MIN_WEIGHTS} values or more")
        coreml_models.write(changed, destination)
    name = max(errors, key=lambda each: errors[each])
    workspace.notes.append(
        f"weights only; furthest from what it was is {name}, by"
        f" {errors[name] * _PERCENT:.2g} % (root mean square)"
    )


def _quantised(model: Any, config: Any) -> Any:
    return optimise.linear_quantize_weights(model, _everywhere(config))


def _everywhere(config: Any) -> Any:
    return optimise.OptimizationConfig(global_config=config)


def _raised(model: Any, deployment: Any) -> Any:
    """For a later system; iOS 18 took tables and masks anew, so they are unpacked in between."""
    kinds = {each.type for each in coreml_models.operations(model.get_spec())}
    if deployment.value < coremltools.target.iOS18.value or not kinds & _TABLES_AND_MASKS:
        return _lowered(model, deployment, _AS_IT_IS)
    if _INT8 in kinds:
        raise PassRefused(
            "the file holds INT8 weights beside tables or masks, which change their form with"
            " iOS 18; put deployment(ios=18) before int8_dynamic"
        )
    return packed(_lowered(optimise.decompress_weights(model), deployment, _AS_IT_IS))


def _lowered(model: Any, deployment: Any, precision: Any) -> Any:
    return coreml_models.reconverted(model, deployment, precision)


def _target(model: Any) -> Any:
    """The deployment target that the file was written for."""
    version = model.get_spec().specificationVersion
    return coremltools.target(version)


def _weights(model: Any) -> dict[str, Any]:
    """The weights as the program computes with them, by the names that they had at first."""
    plain = optimise.decompress_weights(model)
    found = optimise.get_weights_metadata(plain, weight_threshold=_MIN_WEIGHTS)
    return {_MARKS.sub("", name): np.asarray(each.val, np.float64) for name, each in found.items()}


def _errors(before: dict[str, Any], after: dict[str, Any]) -> dict[str, float]:
    """How far each weight is off, as a share of its own root mean square."""
    errors = {}
    for name, old in before.items():
        size = max(float(np.sqrt(np.mean(old**2))), _TINY)
        errors[name] = float(np.sqrt(np.mean((old - after[name]) ** 2))) / size
    return errors
