"""The energy of an inference out of an instrument's readings, and how fine they can tell it."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from distillfarm.agent.protocols import Window
from distillfarm.domain.measurement import Energy

# What cannot be told finer than to half of itself is not told.
COARSEST = 0.5


@dataclass(frozen=True)
class Point:
    """A reading on the agent's monotonic clock; joules since any moment, or watts."""

    t_s: float
    value: float


@dataclass(frozen=True)
class Stretch:
    """A time on the agent's monotonic clock in which the device was idle."""

    begin_s: float
    end_s: float


@dataclass(frozen=True)
class Record:
    """What an instrument saw during a job.

    ``curve`` are its joules, cumulative and in order of time. ``interval_s`` is the usual time
    between two of its readings. ``clock_s`` is how far a reading's time may be off against that of
    a window's edge, ``quantum_j`` the smallest step of its joules.
    """

    method: str
    curve: tuple[Point, ...]
    interval_s: float
    clock_s: float = 0.0
    quantum_j: float = 0.0


def energy_of(record: Record, windows: Sequence[Window], idle: Stretch | None) -> Energy:
    """The energy of one inference over all windows, or why the record does not tell it.

    At each edge of a window the joules are interpolated. Where power changes between two readings
    that is wrong by no more than what flows between them: this, with the clock's error, is the
    resolution.
    """
    inferences = sum(each.inferences for each in windows)
    if not inferences:
        return Energy(reason="no inference was timed on a clock that this computer can compare")
    first_s, last_s = record.curve[0].t_s, record.curve[-1].t_s
    if min(each.begin_s for each in windows) < first_s or last_s < max(
        each.end_s for each in windows
    ):
        return Energy(reason=f"the readings of {record.method} do not cover all inferences")
    seconds = sum(each.end_s - each.begin_s for each in windows)
    edges = [edge for each in windows for edge in (each.begin_s, each.end_s)]
    unsure_s = sum(_gap_s(record.curve, edge) + record.clock_s for edge in edges)
    if unsure_s > COARSEST * seconds:
        return Energy(reason=_too_short(record, seconds, unsure_s / COARSEST, len(windows)))
    gross_j = sum(joules_between(record.curve, each.begin_s, each.end_s) for each in windows)
    unsure_j = gross_j / seconds * unsure_s + len(windows) * record.quantum_j
    if unsure_j > COARSEST * gross_j:
        return Energy(
            reason=f"{record.method} saw {1e3 * gross_j:.3g} mJ in {seconds:.1f} s of inference, "
            f"known to {1e3 * unsure_j:.3g} mJ only; ask for more iterations"
        )
    idle_w = _idle_w(record.curve, idle)
    return Energy(
        method=record.method,
        gross_mj=1e3 * gross_j / inferences,
        net_mj=None if idle_w is None else 1e3 * (gross_j - idle_w * seconds) / inferences,
        resolution_mj=1e3 * unsure_j / inferences,
        interval_s=record.interval_s,
        repeats=len(windows),
    )


def _too_short(record: Record, seconds: float, need_s: float, launches: int) -> str:
    return (
        f"{seconds:.2f} s of inference in {launches} launches are too short for {record.method} "
        f"with a reading every {record.interval_s:.2g} s; need {need_s:.2g} s: "
        "ask for more iterations and a longer max_sampling_s"
    )


def joules_between(curve: Sequence[Point], begin_s: float, end_s: float) -> float:
    """Joules from one moment to another, each interpolated between the readings around it."""
    return _at(curve, end_s) - _at(curve, begin_s)


def cumulative(watts: Iterable[Point]) -> tuple[Point, ...]:
    """The joules of a series of powers, straight lines between its points."""
    points = tuple(watts)
    curve = list(points[:1] and (Point(points[0].t_s, 0.0),))
    for early, late in pairwise(points):
        flowed_j = (late.t_s - early.t_s) * (early.value + late.value) / 2
        curve.append(Point(late.t_s, curve[-1].value + flowed_j))
    return tuple(curve)


def _at(curve: Sequence[Point], t_s: float) -> float:
    index = bisect_left(curve, t_s, key=lambda point: point.t_s)
    if index in (0, len(curve)):
        return curve[min(index, len(curve) - 1)].value
    early, late = curve[index - 1], curve[index]
    share = (t_s - early.t_s) / (late.t_s - early.t_s)
    return early.value + (late.value - early.value) * share


def _gap_s(curve: Sequence[Point], t_s: float) -> float:
    """The time between the two readings around a moment."""
    index = bisect_left(curve, t_s, key=lambda point: point.t_s)
    index = min(max(index, 1), len(curve) - 1)
    return curve[index].t_s - curve[index - 1].t_s


def _idle_w(curve: Sequence[Point], idle: Stretch | None) -> float | None:
    if idle is None:
        return None
    begin_s, end_s = max(idle.begin_s, curve[0].t_s), min(idle.end_s, curve[-1].t_s)
    if end_s <= begin_s:
        return None
    return joules_between(curve, begin_s, end_s) / (end_s - begin_s)
