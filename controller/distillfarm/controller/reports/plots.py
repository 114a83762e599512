"""Pictures of a study as inline SVG, readable on light and on dark paper."""

from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from distillfarm.controller import quality, quantities
from distillfarm.controller.reports import canvas
from distillfarm.controller.reports.evidence import Measured
from distillfarm.domain.interval import Interval
from distillfarm.domain.measurement import Series
from distillfarm.domain.study import Metric, Score, Sla, Trial
from distillfarm.domain.variant import CurvePoint, Exported, PassReport
from distillfarm.sandbox.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PARTS = 10
"""Of each kind; more would be no picture."""
_NS_PER_MS = 1e6
_MAX_STRIP_SAMPLES = 80
_MAX_SERIES_POINTS = 400
_MAX_TITLE = 80


def pareto(trials: Sequence[Trial], front: frozenset[str], chosen: str, knee: str = "") -> str:
    """Quality against warm p90 with both intervals; the front filled, the choice ringed.

    The reference is drawn as a star, the front's knee in a square. Empty when nothing was scored.
    """
    scored = [(each, each.score) for each in trials if each.score is not None]
    if not scored:
        return ""
    with canvas.figure(7.2, 4.0) as (figure, axes):
        targets = sorted({str(each.candidate.target) for each, _ in scored})
        for target, colour, marker in zip(
            targets, cycle(canvas.COLOURS), cycle(canvas.MARKERS), strict=False
        ):
            label = target
            for trial, score in scored:
                if str(trial.candidate.target) != target:
                    continue
                axes.errorbar(
                    score.warm_p90_ms.value,
                    score.quality.value,
                    xerr=_bars(score.warm_p90_ms),
                    yerr=_bars(score.quality),
                    marker="*" if trial.reference else marker,
                    markersize=12 if trial.reference else 7,
                    color=colour,
                    markerfacecolor=colour if trial.trial_id in front else "none",
                    elinewidth=0.8,
                    alpha=1.0 if trial.trial_id in front else 0.55,
                    label=label,
                )
                label = "_"
        _ring(axes, scored, chosen, marker="o", colour=canvas.COLOURS[1], label="chosen")
        _ring(axes, scored, knee, marker="s", colour=canvas.INK, label="knee of the front")
        canvas.log_axis(axes)
        axes.set_xlabel("warm p90 in ms, 95 % interval over launches (logarithmic)")
        axes.set_ylabel("quality on the test split")
        _number(axes, numbered(trials, front))
        canvas.legend_above(axes)
        return canvas.svg(figure)


def numbered(trials: Sequence[Trial], front: frozenset[str]) -> list[Trial]:
    """The front's trials in the order of their numbers in the picture: the fastest first."""
    scored = [(each, each.score) for each in trials if each.score and each.trial_id in front]
    scored.sort(key=lambda each: (each[1].warm_p90_ms.value, each[0].trial_id))
    return [trial for trial, _ in scored]


def launches(measured: Sequence[tuple[str, Measured]]) -> str:
    """Raw warm samples of every launch as strips, a row for each labelled measurement."""
    rows = [(label, each) for label, each in measured if each.measurement.launches]
    if not rows:
        return ""
    with canvas.figure(7.2, 0.8 + 0.62 * len(rows)) as (figure, axes):
        for row, (_, each) in enumerate(reversed(rows)):
            _strip(axes, row, each)
        axes.set_yticks(range(len(rows)), [label for label, _ in reversed(rows)], fontsize=9)
        canvas.log_axis(axes)
        axes.set_xlabel("milliseconds for one inference (logarithmic)")
        return canvas.svg(figure)


def curves(trials: Sequence[Trial]) -> str:
    """Learning curves of all training passes: quality on the selection split by epoch."""
    found = list(_curves(trials))
    if not found:
        return ""
    with canvas.figure(7.2, 3.4) as (figure, axes):
        for (label, points), colour, marker in zip(
            found, cycle(canvas.COLOURS), cycle(canvas.MARKERS), strict=False
        ):
            axes.plot(
                [each.epoch for each in points],
                [each.quality for each in points],
                color=colour,
                marker=marker,
                markersize=4,
                linewidth=1.3,
                label=label,
            )
        canvas.whole_numbers(axes)
        axes.set_xlabel("epoch")
        axes.set_ylabel("quality on the selection split")
        canvas.legend_above(axes)
        return canvas.svg(figure)


def series(seen: Series) -> str:
    """What a meter saw during a measurement, over time; empty when it saw nothing."""
    if not seen.points:
        return ""
    step = max(1, len(seen.points) // _MAX_SERIES_POINTS)
    shown = (*seen.points[:-1:step], seen.points[-1])
    with canvas.figure(7.2, 1.7) as (figure, axes):
        times, values = [each.t_s for each in shown], [each.value for each in shown]
        axes.plot(times, values, color=canvas.COLOURS[0], linewidth=1.2, marker=".", markersize=3)
        axes.set_xlabel("seconds")
        axes.set_ylabel(one_line(seen.unit, _MAX_TITLE))
        # Agents word it, and an escape sequence would make the picture no XML.
        title = one_line(f"{seen.quantity}, by {seen.method}", _MAX_TITLE)
        axes.set_title(title, fontsize=9, loc="left")
        return canvas.svg(figure)


def parts(exported: Exported, sla: Sla) -> str:
    """Points lost by class, group and shift with their intervals, the worst of each kind first.

    At most ``MOST_PARTS`` of a kind. Lines mark what was lost over all and the most that the SLA
    allows. Empty when there is nothing to draw.
    """
    detail = exported.detail
    kinds = tuple(quality.PLURALS)
    rows = (
        [each for kind in kinds for each in quality.parts(detail, kind)[:MOST_PARTS]]
        if detail
        else []
    )
    if not rows:
        return ""
    with canvas.figure(7.2, 1.0 + 0.27 * len(rows)) as (figure, axes):
        for row, each in enumerate(rows):
            colour = canvas.COLOURS[kinds.index(each.kind)]
            axes.barh(row, each.drop.value, color=colour, alpha=0.55, height=0.66)
            errors = _bars(each.drop)
            axes.errorbar(each.drop.value, row, xerr=errors, color=colour, elinewidth=1.2)
        axes.axvline(0.0, color=canvas.INK, linewidth=0.8)
        lost = exported.test_drop.value
        label = f"over all: {quantities.number(lost)}"
        axes.axvline(lost, color=canvas.INK, linestyle=":", label=label)
        for bound in sla.bounds:
            if bound.metric is Metric.ACCURACY_DROP:
                label = f"SLA: at most {bound.limit:g}"
                axes.axvline(bound.limit, color=canvas.COLOURS[1], linestyle="--", label=label)
        labels = [f"{quality.title(each)}  ({each.after.samples})" for each in rows]
        axes.set_yticks(range(len(rows)), labels, fontsize=9)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("points lost, 95 % interval (in brackets: samples)")
        canvas.legend_above(axes)
        return canvas.svg(figure)


def _curves(trials: Sequence[Trial]) -> Iterator[tuple[str, tuple[CurvePoint, ...]]]:
    seen: set[str] = set()
    for trial in trials:
        reports: tuple[PassReport, ...] = trial.exported.reports if trial.exported else ()
        for index, report in enumerate(reports):
            before = "+".join(str(each.spec) for each in reports[: index + 1])
            if report.curve and before not in seen:
                seen.add(before)
                yield _short(before), report.curve


def _strip(axes: "Axes", row: int, each: Measured) -> None:
    height = 0.7 / len(each.measurement.launches)
    for number, launch in enumerate(each.measurement.launches):
        middle = row + 0.35 - height * (number + 0.5)
        samples = np.asarray(launch.samples_ns, dtype=float) / _NS_PER_MS
        step = max(1, len(samples) // _MAX_STRIP_SAMPLES)
        shown = samples[::step]
        # A fixed low-discrepancy spread, so that the same study gives the same picture.
        spread = middle + 0.8 * height * ((np.arange(len(shown)) * 0.618034) % 1.0 - 0.5)
        colour = canvas.COLOURS[number % len(canvas.COLOURS)]
        axes.plot(shown, spread, ".", markersize=2.2, alpha=0.35, color=colour)
        median = float(np.median(samples))
        axes.vlines(
            median, middle - height / 2, middle + height / 2, color=canvas.INK, linewidth=1.6
        )


def _ring(
    axes: "Axes",
    scored: Sequence[tuple[Trial, Score]],
    trial_id: str,
    *,
    marker: str,
    colour: str,
    label: str,
) -> None:
    for trial, score in scored:
        if trial.trial_id == trial_id:
            axes.plot(
                score.warm_p90_ms.value,
                score.quality.value,
                marker=marker,
                markersize=17,
                markerfacecolor="none",
                color=colour,
                linestyle="none",
                label=label,
            )


def _number(axes: "Axes", trials: Sequence[Trial]) -> None:
    for number, trial in enumerate(trials, 1):
        if trial.score is not None:
            axes.annotate(
                str(number),
                (trial.score.warm_p90_ms.value, trial.score.quality.value),
                xytext=(7, 6),
                textcoords="offset points",
                fontsize=9,
            )


def _bars(interval: Interval) -> list[list[float]] | None:
    if not interval.bounded:
        return None
    return [[interval.value - interval.low], [interval.high - interval.value]]


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004
