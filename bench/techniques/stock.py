"""A peer's quantiser with its defaults, as a program that either environment's Python can run.

``python stock.py METHOD SOURCE CALIBRATION.npz DESTINATION``; the samples of the calibration lie
along the first axis of its arrays. It imports nothing of distillfarm.
"""

import json
import os
import resource
import shutil
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

Feed = dict[str, Any]


def feeds(calibration: Path) -> Iterator[Feed]:
    """One sample after the other, each with a batch of 1."""
    with np.load(calibration) as archive:
        arrays = dict(archive)
    for row in range(len(next(iter(arrays.values())))):
        yield {name: array[row : row + 1] for name, array in arrays.items()}


def onnxruntime_dynamic(source: Path, calibration: Path, destination: Path) -> None:
    """``quantize_dynamic`` as it comes."""
    del calibration
    import_module("onnxruntime.quantization").quantize_dynamic(source, destination)


def onnxruntime_static(source: Path, calibration: Path, destination: Path) -> None:
    """``quantize_static`` as it comes, with nothing but the samples."""
    quantization = import_module("onnxruntime.quantization")
    samples = feeds(calibration)

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def get_next(self) -> Feed | None:
            return next(samples, None)

    quantization.quantize_static(source, destination, Reader())


def quantizer_recipe(source: Path, calibration: Path, destination: Path, name: str) -> None:
    """ai-edge-quantizer with a recipe of its own and its own calibration."""
    quantizer = import_module("ai_edge_quantizer.quantizer").Quantizer(str(source))
    quantizer.load_quantization_recipe(getattr(import_module("ai_edge_quantizer.recipe"), name)())
    ranges = None
    if quantizer.need_calibration:
        interpreter = import_module("ai_edge_litert.interpreter").Interpreter(str(source))
        signature = next(iter(interpreter.get_signature_list()))
        given = interpreter.get_signature_runner(signature).get_input_details()
        samples = [
            {key: each[key].astype(given[key]["dtype"]) for key in given}
            for each in feeds(calibration)
        ]
        ranges = quantizer.calibrate({signature: samples})
    quantizer.quantize(ranges).export_model(str(destination), overwrite=True)


def olive(source: Path, calibration: Path, destination: Path, name: str) -> None:
    """One pass of Olive with its defaults."""
    os.environ["OLIVE_DISABLE_TELEMETRY"] = "1"
    folder = destination.with_suffix(".olive")
    script = folder / "samples.py"
    folder.mkdir(parents=True)
    script.write_text(_SAMPLES.format(calibration=str(calibration)))
    spec: dict[str, Any] = {"type": name}
    config: dict[str, Any] = {
        "input_model": {"type": "ONNXModel", "model_path": str(source)},
        "passes": {"quantise": spec},
        "output_dir": str(folder / "out"),
        "cache_dir": str(folder / "cache"),
    }
    if "Static" in name:
        spec["data_config"] = "samples"
        config["data_configs"] = [
            {
                "name": "samples",
                "user_script": str(script),
                "load_dataset_config": {"type": "calibration_samples"},
                "dataloader_config": {"batch_size": 1},
            }
        ]
    import_module("olive.workflows").run(config)
    (made,) = (folder / "out").rglob("*.onnx")
    shutil.copyfile(made, destination)


_SAMPLES = """
import numpy as np
from olive.data.registry import Registry

class Samples:
    def __init__(self):
        with np.load({calibration!r}) as archive:
            self.arrays = dict(archive)
    def __len__(self):
        return len(next(iter(self.arrays.values())))
    def __getitem__(self, row):
        return {{name: array[row] for name, array in self.arrays.items()}}, 0

@Registry.register_dataset()
def calibration_samples(**_):
    return Samples()
"""


def main(method: str, source: Path, calibration: Path, destination: Path) -> None:
    """Write the file and tell, as JSON, the peak memory of this process."""
    name, _, argument = method.partition(":")
    quantise = {
        "onnxruntime_dynamic": onnxruntime_dynamic,
        "onnxruntime_static": onnxruntime_static,
        "recipe": quantizer_recipe,
        "olive": olive,
    }[name]
    quantise(source, calibration, destination, *filter(None, [argument]))  # type: ignore[operator]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"peak_rss_bytes": peak}))


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:5]))
