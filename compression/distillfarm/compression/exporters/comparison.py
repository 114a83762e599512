"""How far two models' answers lie apart on fixed inputs."""

import numpy as np

from distillfarm.compression.datasets import Array, load_for_passes
from distillfarm.compression.inference import open_model
from distillfarm.compression.protocols import ExportRefused, WorkingModel, Workspace

_SAMPLES = 16
_TOLERANCE = 0.01
_FLOOR = 1e-5


def max_abs_error(file: WorkingModel, reference: WorkingModel, workspace: Workspace) -> float:
    """The largest absolute difference of any output, matched by name, on calibration samples.

    Raises:
        ExportRefused: names or shapes of the outputs differ, an answer is not finite, or the
            difference is more than 1 % of the output's largest value: a wrong conversion.
    """
    expected = open_model(reference, workspace.threads)
    data = load_for_passes(workspace.data, expected.signature, workspace.split_seed).calibration
    inputs = data.take(slice(_SAMPLES)).inputs
    wanted, given = expected(inputs), open_model(file, workspace.threads)(inputs)
    if sorted(wanted) != sorted(given):
        raise ExportRefused(f"the export's outputs are {sorted(given)}, not {sorted(wanted)}")
    return max(_difference(name, wanted[name], given[name]) for name in wanted)


def _difference(name: str, wanted: Array, given: Array) -> float:
    if wanted.shape != given.shape:
        raise ExportRefused(f"output {name} of the export is {given.shape}, not {wanted.shape}")
    difference = np.abs(wanted.astype(np.float64) - given.astype(np.float64))
    if not np.isfinite(difference).all():
        raise ExportRefused(f"output {name} of the export is not finite")
    largest, magnitude = float(difference.max()), float(np.abs(wanted).max())
    if largest > _TOLERANCE * magnitude + _FLOOR:
        raise ExportRefused(
            f"output {name} of the export is off by {largest:.3g} where values reach"
            f" {magnitude:.3g}: the conversion is wrong"
        )
    return largest
