"""Turns raw samples into numbers with intervals; the launch is the unit of replication."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import Platform, Target
from distillfarm.domain.job import Mode
from distillfarm.domain.measurement import Launch, Measurement, Peak, Summary
from distillfarm.statistics.classes import DeviceClass, device_class
from distillfarm.statistics.distributions import median_absolute_deviation
from distillfarm.statistics.drift import drift, sustained
from distillfarm.statistics.intervals import over_launches, robust_variation
from distillfarm.statistics.modes import peaks

_NS_PER_MS = 1e6
# Each of two peaks that are to make a measurement unstable holds at least this share of launches.
_STRONG = 0.25


@dataclass(frozen=True)
class LaunchValues:
    """What intervals, verdicts and comparisons are made of: in each field one value a launch."""

    cold_ms: tuple[float, ...]
    load_ms: tuple[float, ...]
    first_inference_ms: tuple[float, ...]
    warm_p50_ms: tuple[float, ...]
    warm_p90_ms: tuple[float, ...]
    warm_p99_ms: tuple[float, ...]
    peak_memory_bytes: tuple[float, ...]


def launch_values(launches: Sequence[Launch]) -> LaunchValues:
    """The values of each launch, in the order of launches.

    Raises:
        InvalidRequest: a launch without samples.
    """
    if not all(each.samples_ns for each in launches):
        raise InvalidRequest("a launch without samples has no warm latency to tell")
    quantiles = np.array(
        [np.quantile(each.samples_ns, (0.50, 0.90, 0.99)) for each in launches]
    ).reshape(-1, 3)
    return LaunchValues(
        cold_ms=_milliseconds([each.first_output_ns for each in launches]),
        load_ms=_milliseconds([each.load_ns for each in launches]),
        first_inference_ms=_milliseconds([each.first_inference_ns for each in launches]),
        warm_p50_ms=_milliseconds(quantiles[:, 0].tolist()),
        warm_p90_ms=_milliseconds(quantiles[:, 1].tolist()),
        warm_p99_ms=_milliseconds(quantiles[:, 2].tolist()),
        peak_memory_bytes=tuple(float(max(each.memory.peak_bytes, 1)) for each in launches),
    )


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
    return summarise_launches(
        launches,
        measurement.target,
        platform,
        emulated=measurement.emulated,
        mode=measurement.spec.mode,
    )


def summarise_launches(
    launches: Sequence[Launch],
    target: Target,
    platform: Platform,
    *,
    emulated: bool = False,
    mode: Mode = Mode.BURST,
) -> Summary:
    """What launches on ``target`` of one kind of device say, of one measurement or of several.

    Raises:
        InvalidRequest: no launches, or one without samples.
    """
    if not launches:
        raise InvalidRequest(f"{target}: without launches there is nothing to summarise")
    values = launch_values(launches)
    kind = device_class(platform, target)
    variation = robust_variation(values.warm_p50_ms)
    warm_peaks = peaks(values.warm_p50_ms)
    instability = _instability(kind, variation, warm_peaks, emulated=emulated)
    drifts = [drift(each.samples_ns) for each in launches]
    samples = np.concatenate([np.asarray(each.samples_ns, dtype=float) for each in launches])
    return Summary(
        launches=len(launches),
        iterations=int(samples.size),
        cold_ms=over_launches(values.cold_ms),
        load_ms=over_launches(values.load_ms),
        first_inference_ms=over_launches(values.first_inference_ms),
        warm_p50_ms=over_launches(values.warm_p50_ms),
        warm_p90_ms=over_launches(values.warm_p90_ms),
        warm_p99_ms=over_launches(values.warm_p99_ms),
        warm_mad_ms=median_absolute_deviation(samples) / _NS_PER_MS,
        peak_memory_bytes=over_launches(values.peak_memory_bytes),
        launch_cv=variation,
        stable=not instability,
        instability=instability,
        warm_peaks=warm_peaks,
        load_peaks=peaks(values.load_ms),
        drift=float(np.median(drifts)),
        drifting=sum(each != 0 for each in drifts),
        minimum_effect=kind.minimum_effect,
        sustained=sustained(launches) if mode is Mode.SUSTAINED else None,
    )


def _milliseconds(durations_ns: Sequence[float]) -> tuple[float, ...]:
    """No duration is shorter than a nanosecond, so that each has a logarithm."""
    return tuple(max(each, 1.0) / _NS_PER_MS for each in durations_ns)


def _instability(
    kind: DeviceClass, variation: float, warm_peaks: tuple[Peak, ...], *, emulated: bool
) -> str:
    """Why launches do not agree as they should, or nothing."""
    if emulated:
        return "the device is emulated"
    if variation > kind.variation_limit:
        limit = kind.variation_limit
        return f"launches differ by {variation:.1%}, the limit of {kind.value}s is {limit:.0%}"
    strong = [each for each in warm_peaks if each.share >= _STRONG]
    if len(strong) > 1:
        gathered = " and ".join(f"{each.centre_ms:.3g} ms ({each.share:.0%})" for each in strong)
        return f"launches gather around {gathered}"
    return ""
