"""Weights and activations to INT8, with ranges taken from calibration samples."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distillfarm.compression.datasets import Array, Samples, load_for_passes
from distillfarm.compression.inference import open_model
from distillfarm.compression.passes.settings import number, parse
from distillfarm.compression.protocols import PassRefused, Promise, WorkingModel, Workspace
from distillfarm.domain.model import ModelFormat, Signature
from distillfarm.domain.variant import PassSpec

MIN_CALIBRATION_SAMPLES = 16
"""Fewer say too little of the ranges; a data set of 320 samples gives as many."""


@dataclass(frozen=True)
class Int8StaticSettings:
    """At most ``samples`` of the calibration split are used."""

    samples: int = number(256, MIN_CALIBRATION_SAMPLES, 100_000)


class Int8Static:
    """Static INT8, per channel, with minimum and maximum as ranges.

    ONNX: quantise-dequantise pairs by ONNX Runtime. LiteRT: ai-edge-quantizer, whose default, a
    moving average of the ranges, loses accuracy; the plain minimum and maximum do not.
    """

    name = "int8_static"
    formats = frozenset({ModelFormat.ONNX, ModelFormat.TFLITE})
    gives = None
    promise = Promise.SMALLER_FILE

    def check(self, spec: PassSpec) -> None:
        """Read the settings."""
        parse(spec, Int8StaticSettings)

    def run(self, source: WorkingModel, spec: PassSpec, workspace: Workspace) -> WorkingModel:
        """Calibrate and quantise."""
        settings = parse(spec, Int8StaticSettings)
        workspace.report(0.0, "reading the calibration samples")
        signature = open_model(source, workspace.threads).signature
        data = load_for_passes(workspace.data, signature, workspace.split_seed).calibration
        if len(data) < MIN_CALIBRATION_SAMPLES:
            raise PassRefused(
                f"{len(data)} calibration samples; at least {MIN_CALIBRATION_SAMPLES} are needed,"
                " give more data or use int8_dynamic"
            )
        rows = np.random.default_rng(workspace.seed).permutation(len(data))[: settings.samples]
        batches = _Batches(data.take(np.sort(rows)), signature, workspace)
        path = workspace.folder / f"int8_static.{source.format.value}"
        quantise = _onnx if source.format is ModelFormat.ONNX else _tflite
        quantise(source.path, path, batches, workspace)
        return WorkingModel(path, source.format)


class _Batches:
    """Calibration samples one by one; reports as they are taken."""

    def __init__(self, samples: Samples, signature: Signature, workspace: Workspace) -> None:
        self._samples = samples
        self._batch = max(1, signature.inputs[0].shape[0])
        self._workspace = workspace

    def __iter__(self) -> Iterator[dict[str, Array]]:
        total = len(self._samples) // self._batch
        for index in range(total):
            self._workspace.report(
                0.9 * index / total, f"calibrating, batch {index + 1} of {total}"
            )
            rows = slice(index * self._batch, (index + 1) * self._batch)
            yield dict(self._samples.take(rows).inputs)


def _onnx(source: Path, destination: Path, batches: _Batches, workspace: Workspace) -> None:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    from distillfarm.compression.passes.onnx_files import prepared, tidy

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # untyped library
        def __init__(self) -> None:
            self._left = iter(batches)

        def get_next(self) -> dict[str, Array] | None:
            return next(self._left, None)

    quantize_static(
        prepared(source, workspace.folder),
        destination,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
    )
    tidy(destination)


def _tflite(source: Path, destination: Path, batches: _Batches, workspace: Workspace) -> None:
    from ai_edge_quantizer import calibrator, quantizer, recipe, recipe_manager
    from ai_edge_quantizer.utils import qsv_utils

    from distillfarm.compression.passes.tflite_files import signature_key

    wanted = recipe.static_wi8_ai8()
    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(wanted)
    watcher = calibrator.Calibrator(
        str(source), num_threads=workspace.threads, qsv_update_func=qsv_utils.min_max_update
    )
    watcher.calibrate({signature_key(source): batches}, manager)
    engine = quantizer.Quantizer(str(source), wanted)
    result = engine.quantize(watcher.get_model_qsvs(), enable_progress_report=False)
    destination.write_bytes(result.quantized_model)
