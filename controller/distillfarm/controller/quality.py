"""What a variant's quality comes down to in words, the same in every display."""

import math

from distillfarm.controller.quantities import number, with_interval
from distillfarm.domain.sla import format_bound
from distillfarm.domain.study import Metric, Sla
from distillfarm.domain.variant import AGREEMENT, Exported, QualityDetail, QualitySlice, SliceKind

PLURALS = {SliceKind.CLASS: "classes", SliceKind.GROUP: "groups", SliceKind.SHIFT: "shifts"}
"""The kinds of parts in the order in which they are shown."""
SHARES = frozenset({"accuracy", AGREEMENT})
"""The metrics that are shares of samples, and so shown in per cent; a user's is as it is."""
_PERCENT = 100.0


def facts(exported: Exported, sla: Sla) -> tuple[str, ...]:
    """Sentences on agreement, the worst parts, and what the test samples cannot tell."""
    found: list[str] = []
    samples = exported.test_quality.samples
    if exported.test_quality.against_source:
        found.append("the data have no labels: quality is agreement with the source model")
    if exported.unverified:
        found.append(f"unverified: {exported.unverified}")
    detail = exported.detail
    if detail is None:
        return tuple(found)
    if detail.agreement is not None and not exported.test_quality.against_source:
        shown = with_interval(detail.agreement, _PERCENT)
        found.append(f"answers like the source model on {shown} % of {samples} test samples")
    found += [_worst(detail, kind) for kind in PLURALS if parts(detail, kind)]
    if limits := [each for each in sla.bounds if each.metric is Metric.ACCURACY_DROP]:
        limit = limits[0].limit
        if detail.resolution_points > limit:
            found.append(
                f"these {samples} test samples cannot tell a drop below"
                f" {number(detail.resolution_points)} points, and {format_bound(limits[0])} asks"
                f" for less{_enough(samples, detail.resolution_points, limit)}"
            )
    return tuple(found)


def parts(detail: QualityDetail, kind: SliceKind) -> tuple[QualitySlice, ...]:
    """The parts of one kind, those first that lost most."""
    found = (each for each in detail.slices if each.kind is kind)
    return tuple(sorted(found, key=lambda each: -each.drop.value))


def title(part: QualitySlice) -> str:
    """``class 7``, ``group night``, or the shift in words."""
    return part.name if part.kind is SliceKind.SHIFT else f"{part.kind.value} {part.name}"


def _worst(detail: QualityDetail, kind: SliceKind) -> str:
    worst, *others = parts(detail, kind)
    among = f"{len(others) + 1} {PLURALS[kind]}" if others else f"1 {kind.value}"
    if worst.drop.value <= 0:
        return f"none of {among} lost any"
    return (
        f"worst of {among}: {worst.name}, {with_interval(worst.drop)} points lost"
        f" ({number(worst.before.value)} to {number(worst.after.value)}, {worst.after.samples}"
        " samples)"
    )


def _enough(samples: int, resolution: float, limit: float) -> str:
    """Intervals shrink with the root of the number of samples."""
    if limit <= 0:
        return ""
    wanted = samples * (resolution / limit) ** 2
    digit = 10 ** max(0, math.floor(math.log10(wanted)) - 1)
    return f"; about {math.ceil(wanted / digit) * digit:,} would do"
