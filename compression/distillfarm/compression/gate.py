"""Judges what a pass did: nothing, too much harm, or its work. Every pass goes through here."""

from collections.abc import Sequence
from dataclasses import dataclass

from distillfarm.compression.protocols import PassRefused, Promise
from distillfarm.domain.interval import Interval
from distillfarm.domain.variant import PassOutcome, PassSpec, Quality


@dataclass(frozen=True)
class GateLimits:
    """When a pass has destroyed a model.

    ``max_drop_points`` are points (0.01) of quality lost against the source model on the
    selection split. The default of 10 is far beyond what any useful pass costs, yet a recurrent
    network that a quantiser broke lost 55: it tells a broken model from a cheap one, the SLA
    judges the rest. For a user's evaluator whose values are larger than 1 the limit is that share
    of the source's value. A quantiser must save ``min_saving`` of the file, a pass that only makes
    weights repeat that much of the packed file: one that saves less has found next to nothing to
    work on.
    """

    max_drop_points: float = 10.0
    min_saving: float = 0.02


@dataclass(frozen=True)
class Change:
    """What a pass did to a model, in facts.

    ``before`` and ``after`` are ``census`` results; parameters are 0 where nobody counted.
    ``baseline`` is the quality of always giving the most frequent answer, None if there is none.
    """

    size_before_bytes: int
    size_after_bytes: int
    packed_before_bytes: int
    packed_after_bytes: int
    parameters_before: int
    parameters_after: int
    before: tuple[str, ...]
    after: tuple[str, ...]
    quality: Quality
    reference: Quality
    drop: Interval
    baseline: float | None


@dataclass(frozen=True)
class Judgement:
    """An outcome with its reason; for APPLIED the reason may be empty or a caution."""

    outcome: PassOutcome
    reason: str


def judge(change: Change, promise: Promise, limits: GateLimits) -> Judgement:
    """DESTROYED, UNCHANGED or APPLIED, in this order, with the reason in words."""
    limit = limits.max_drop_points * max(1.0, abs(change.reference.value))
    if change.drop.value > limit:
        return Judgement(
            PassOutcome.DESTROYED,
            f"{change.quality.metric} fell from {change.reference.value:.3f} to"
            f" {change.quality.value:.3f} on {change.quality.samples} samples, a loss of"
            f" {change.drop.value:.1f} points ({change.drop.low:.1f} to {change.drop.high:.1f});"
            f" at most {limit:.1f} are let through",
        )
    baseline = change.baseline
    if baseline is not None and change.quality.value <= baseline < change.reference.low:
        return Judgement(
            PassOutcome.DESTROYED,
            f"{change.quality.metric} {change.quality.value:.3f} is no better than always"
            f" answering the most frequent class ({baseline:.3f})",
        )
    unchanged = _unchanged(change, promise, limits.min_saving)
    if unchanged:
        return Judgement(PassOutcome.UNCHANGED, unchanged)
    return Judgement(PassOutcome.APPLIED, _caution(change, limit))


def refuse(spec: PassSpec, judgement: Judgement, notes: Sequence[str] = ()) -> None:
    """Let APPLIED through.

    Raises:
        PassRefused: any other outcome; the text names the pass and the outcome, and quotes the
            pass' own notes, which name the layers.
    """
    if judgement.outcome is not PassOutcome.APPLIED:
        reasons = "; ".join((judgement.reason, *notes))
        raise PassRefused(f"{spec}: {judgement.outcome.value}: {reasons}")


def _unchanged(change: Change, promise: Promise, min_saving: float) -> str:
    match promise:
        case Promise.SAME_SIZE:
            return ""
        case Promise.FEWER_PARAMETERS:
            if change.parameters_after < change.parameters_before:
                return ""
            return (
                f"{change.parameters_after:,} parameters, not fewer than the"
                f" {change.parameters_before:,} before"
            )
        case Promise.SMALLER_PACKED:
            before, after = change.packed_before_bytes, change.packed_after_bytes
            return _shrank("packed file", before, after, min_saving)
        case Promise.SMALLER_FILE:
            if change.before == change.after:
                return "the file has the same operators and types as before"
            before, after = change.size_before_bytes, change.size_after_bytes
            return _shrank("file", before, after, min_saving)


def _shrank(what: str, before: int, after: int, min_saving: float) -> str:
    if after >= before:
        return f"the {what} grew from {before:,} to {after:,} B"
    if after > before * (1 - min_saving):
        return f"the {what} shrank only from {before:,} to {after:,} B"
    return ""


def _caution(change: Change, limit: float) -> str:
    drop = change.drop
    if drop.high > limit:
        return (
            f"{change.quality.samples} samples cannot tell how much was lost: {drop.low:.1f} to"
            f" {drop.high:.1f} points at 95 %"
        )
    return ""
