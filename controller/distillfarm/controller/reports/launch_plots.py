"""Pictures of one measurement's launches as SVG: each by itself, over time, and in turn."""

from collections.abc import Sequence

from distillfarm.controller.remarks import course
from distillfarm.controller.reports import canvas, plots
from distillfarm.controller.reports.evidence import Measured
from distillfarm.domain.measurement import Launch
from distillfarm.statistics.summary import launch_values

_COURSE_PARTS = 120
_MOST_COURSES = len(canvas.COLOURS)


def samples(measured: Measured) -> str:
    """The raw warm samples of every launch as strips; empty where there are none."""
    launches = measured.measurement.launches
    if not launches or not all(each.samples_ns for each in launches):
        return ""
    return plots.launches([(f"{len(launches)}\nlaunches", measured)])


def over_time(launches: Sequence[Launch]) -> str:
    """How latency went inside the first launches, a line each; empty where there are no samples."""
    able = [each for each in launches if each.samples_ns][:_MOST_COURSES]
    if not able:
        return ""
    with canvas.figure(7.2, 2.6) as (figure, axes):
        for number, (launch, colour) in enumerate(zip(able, canvas.COLOURS, strict=False), 1):
            seen = course(launch, _COURSE_PARTS)
            times, values = [at_s for at_s, _ in seen], [value for _, value in seen]
            axes.plot(times, values, color=colour, linewidth=1.2, label=f"launch {number}")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("seconds since the launch's first timed inference")
        axes.set_ylabel("ms for one inference")
        canvas.legend_above(axes)
        return canvas.svg(figure)


def in_turn(own: Sequence[Launch], rival: Sequence[Launch]) -> str:
    """The warm p50 of launches that were made in turn, each pair joined; empty without pairs."""
    pairs = [
        (one, other)
        for one, other in zip(own, rival, strict=False)
        if one.samples_ns and other.samples_ns
    ]
    if not pairs:
        return ""
    first, second = (launch_values(side).warm_p50_ms for side in zip(*pairs, strict=True))
    numbers = range(1, len(pairs) + 1)
    with canvas.figure(7.2, 2.8) as (figure, axes):
        axes.vlines(numbers, first, second, color=canvas.INK, linewidth=0.8, alpha=0.6)
        for label, values, colour, marker in zip(
            ("A", "B, its rival"), (first, second), canvas.COLOURS, canvas.MARKERS, strict=False
        ):
            axes.plot(numbers, values, marker, color=colour, markersize=6, label=label)
        canvas.whole_numbers(axes)
        axes.set_xlabel("pair of launches, in the order in which they were made")
        axes.set_ylabel("warm p50, ms")
        canvas.legend_above(axes)
        return canvas.svg(figure)
