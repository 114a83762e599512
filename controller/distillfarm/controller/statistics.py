"""Turns raw samples into numbers with intervals; the launch is the unit of replication.

Samples inside one launch share its memory layout, clock and thermal state, so an interval over
them says nothing about the next launch (Kalibera and Jones, "Rigorous Benchmarking in Reasonable
Time", ISMM 2013; Barrett et al., "Virtual Machine Warmup Blows Hot and Cold", OOPSLA 2017). Every
interval here is therefore over launches.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import ComputeUnit, Platform, Target
from distillfarm.domain.interval import UNBOUNDED, Interval
from distillfarm.domain.measurement import Launch, Measurement, Summary

CONFIDENCE = 0.95

_NS_PER_MS = 1e6
_NPU_CV_LIMIT = 0.03
# Between-launch variation beyond which a class of device gives no number but UNSTABLE: the spread
# that ExecuTorch's published phone launches show in their steady state, see docs/measurement.md.
_CPU_CV_LIMITS = {Platform.IOS: 0.05, Platform.ANDROID: 0.10, Platform.HOST: 0.15}


def cv_limit(platform: Platform, target: Target) -> float:
    """The largest coefficient of variation between launches that still gives a number."""
    return _NPU_CV_LIMIT if target.unit is ComputeUnit.NPU else _CPU_CV_LIMITS[platform]


def over_launches(values: Sequence[float]) -> Interval:
    """The typical launch with its 95 % interval: Student's t on the logarithms.

    Latencies are positive and skewed to the right, and their logarithms are nearer to normal
    (Olsson, "Confidence Intervals for the Mean of a Log-Normal Distribution", J. Stat. Educ.
    2005); back on the scale of ``values`` the estimate is the geometric mean. One value has no
    spread to learn from: its interval is unbounded.

    Args:
        values: one positive number a launch.

    Raises:
        InvalidRequest: no values, or one that is not positive.
    """
    sample = np.asarray(values, dtype=float)
    if sample.size == 0 or not np.all(sample > 0):
        raise InvalidRequest("an interval over launches needs at least one positive value")
    logs = np.log(sample)
    centre = float(np.exp(logs.mean()))
    if sample.size == 1:
        return Interval(centre, 0.0, UNBOUNDED)
    margin = stats.t.ppf((1 + CONFIDENCE) / 2, sample.size - 1) * stats.sem(logs)
    return Interval(centre, centre * float(np.exp(-margin)), centre * float(np.exp(margin)))


def variation(values: Sequence[float]) -> float:
    """The coefficient of variation (sample standard deviation over mean); 0 for one value."""
    return float(stats.variation(values, ddof=1)) if len(values) > 1 else 0.0


def summarise(measurement: Measurement, platform: Platform = Platform.HOST) -> Summary:
    """What the launches of a measurement say in few numbers.

    Args:
        measurement: at least one launch, each with at least one warm sample. One launch is a
            value without bounds, see ``over_launches``, and counts as stable: nothing speaks
            against it, and nothing for it.
        platform: of the device, which decides how much variation is too much.

    Raises:
        InvalidRequest: there is nothing to summarise: the outcome is the only result.
    """
    launches = measurement.launches
    if not launches or not all(each.samples_ns for each in launches):
        raise InvalidRequest(
            f"{measurement.measurement_id}: no launches to summarise, or one without samples; "
            f"outcome {measurement.outcome.value}"
        )

    def milliseconds(read: Callable[[Launch], float]) -> Interval:
        return over_launches([max(read(each), 1.0) / _NS_PER_MS for each in launches])

    def warm(quantile: float) -> Interval:
        return milliseconds(lambda launch: float(np.quantile(launch.samples_ns, quantile)))

    spread = variation([float(np.median(each.samples_ns)) for each in launches])
    samples = np.concatenate([np.asarray(each.samples_ns, dtype=float) for each in launches])
    return Summary(
        launches=len(launches),
        iterations=int(samples.size),
        cold_ms=milliseconds(lambda launch: launch.first_output_ns),
        load_ms=milliseconds(lambda launch: launch.load_ns),
        first_inference_ms=milliseconds(lambda launch: launch.first_inference_ns),
        warm_p50_ms=warm(0.50),
        warm_p90_ms=warm(0.90),
        warm_p99_ms=warm(0.99),
        warm_mad_ms=float(stats.median_abs_deviation(samples)) / _NS_PER_MS,
        peak_memory_bytes=over_launches([max(each.memory.peak_bytes, 1) for each in launches]),
        launch_cv=spread,
        stable=not measurement.emulated and spread <= cv_limit(platform, measurement.target),
    )
