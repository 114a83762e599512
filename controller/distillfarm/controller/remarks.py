"""What is to be said of a measurement beside its numbers, in the same words everywhere; pure."""

from collections.abc import Iterator, Sequence

import numpy as np

from distillfarm.controller.quantities import THROTTLING, number
from distillfarm.domain.job import Mode
from distillfarm.domain.measurement import (
    Launch,
    Measurement,
    Peak,
    Series,
    Stop,
    Summary,
    Sustained,
)

_NS_PER_MS = 1e6
_MODES = {
    Mode.BURST: "burst",
    Mode.SUSTAINED: "sustained, without rest",
    Mode.SINGLE_STREAM: "single stream, as MLPerf has it",
}


def remarks(measurement: Measurement, summary: Summary | None) -> Iterator[tuple[str, str]]:
    """Facts with their values; those of the summary where it has numbers."""
    if measurement.spec.mode is not Mode.BURST:
        yield "mode", _MODES[measurement.spec.mode]
    if measurement.launches:
        yield "stopped", stopped(measurement)
    if summary is None:
        return
    for what, peaks in (("warm", summary.warm_peaks), ("load", summary.load_peaks)):
        if len(peaks) > 1:
            yield f"{what}: launches gather around", gathered(peaks)
    if summary.drifting:
        yield "inside a launch", drifted(summary)
    if summary.sustained is not None:
        yield "without rest", endured(summary.sustained)
    if heat := throttled(measurement.series):
        yield "throttling", heat
    if summary.minimum_effect:
        yield (
            "smallest difference",
            f"{summary.minimum_effect:.0%}: less is not told apart from another measurement's"
            " on this class of device",
        )


def stopped(measurement: Measurement) -> str:
    """Why no further launch was made."""
    spec = measurement.spec
    # Beside a rival both sides share what befalls them, so that their ratio is what is watched.
    watched = "of the ratios " if measurement.rival else ""
    match measurement.stop:
        case Stop.COUNT:
            return "as many launches as asked for"
        case Stop.WIDTH:
            return f"the intervals {watched}of p50 and p90 are no wider than {spec.width:.1%}"
        case Stop.LAUNCHES:
            most = spec.most_launches
            return f"{most} launches, the most; an interval {watched}is wider than {spec.width:.1%}"
        case Stop.TIME:
            return f"{spec.budget_s:g} s of the device are spent"


def gathered(peaks: Sequence[Peak]) -> str:
    """``31.0 ms (60%) and 50.0 ms (40%)``."""
    return " and ".join(f"{number(each.centre_ms)} ms ({each.share:.0%})" for each in peaks)


def drifted(summary: Summary) -> str:
    """How launches changed between their beginning and their end."""
    of = f"{summary.drifting} of {summary.launches} launches drift"
    if not summary.drift:
        return of
    word = "slower" if summary.drift > 0 else "faster"
    return f"{of}; the typical one is {abs(summary.drift):.1%} {word} at its end"


def endured(seen: Sustained) -> str:
    """How latency went in launches that never rested."""
    change = seen.last_ms / seen.first_ms - 1
    ends = f"{number(seen.first_ms)} ms at first, {number(seen.last_ms)} ms at last ({change:+.0%})"
    if seen.slower_after_s is None:
        return f"{ends}; never 10 % slower for good"
    return f"{ends}; 10 % slower for good after {seen.slower_after_s:.0f} s"


def throttled(series: Sequence[Series]) -> str:
    """How hard the device throttled, by its own word; nothing where it did not or does not tell."""
    for each in series:
        if each.quantity == "throttling" and each.points:
            worst = max(each.points, key=lambda point: point.value)
            level = int(worst.value)
            if level:
                word = THROTTLING[level] if level < len(THROTTLING) else str(level)
                return f"{word} after {worst.t_s - each.points[0].t_s:.0f} s"
    return ""


def course(launch: Launch, parts: int) -> list[tuple[float, float]]:
    """How a launch's latency went: seconds since its first sample, and the median around then.

    A long mode keeps its samples evenly spread over the launch, so equal parts of them take about
    equally long.
    """
    samples = np.asarray(launch.samples_ns, dtype=float) / _NS_PER_MS
    span_s = launch.sampling_s or float(samples.sum()) / 1e3
    pieces = np.array_split(samples, min(parts, len(samples)))
    return [
        ((index + 0.5) * span_s / len(pieces), float(np.median(piece)))
        for index, piece in enumerate(pieces)
    ]
