"""Judges promises: pass, fail, or not to be told from these launches, with stated error rates.

A bound on what launches show is judged launch by launch, see ``statistics.verdicts``: whoever looks
after every launch and goes on until it is decided keeps the same error rates. Quality is judged by
its interval over test samples, size exactly, energy by what its meter can tell apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from distillfarm.controller.evidence import Evidence, describe, launched, observed
from distillfarm.domain.interval import Interval
from distillfarm.domain.sla import format_bound
from distillfarm.domain.study import (
    Bound,
    BoundVerdict,
    Metric,
    PhoneVerdict,
    Sla,
    SlaVerdict,
    Verdict,
)
from distillfarm.statistics.verdicts import judge_interval, judge_launches

FALSE_PASS, FALSE_FAIL = 0.01, 0.02
"""How often a bound whose quantity lies on the other side of the limit is judged so, at most."""

_BADNESS = {Verdict.PASS: 0, Verdict.INCONCLUSIVE: 1, Verdict.FAIL: 2}
_WITHIN_BOUNDS = (Metric.SIZE, Metric.ENERGY)


@dataclass(frozen=True)
class _Errors:
    """How often one bound's verdict may be wrong."""

    false_pass: float
    false_fail: float

    def said(self, verdict: Verdict) -> str:
        rate = self.false_pass if verdict is Verdict.PASS else self.false_fail
        return f"wrong at most once in {1 / rate:.0f}"


def judge(sla: Sla, evidence: Evidence) -> SlaVerdict:
    """The verdict on every bound and on all of them.

    Each bound is passed wrongly at most once in 100 times, and failed wrongly at most once in 50.
    """
    return _judge(sla, evidence, _Errors(FALSE_PASS, FALSE_FAIL))


def judge_phones(
    sla: Sla, evidence: Mapping[str, Evidence]
) -> tuple[SlaVerdict, tuple[PhoneVerdict, ...]]:
    """The verdict on a variant by the phones that it was measured on, by their ids, and on each.

    It passes only if every phone passes, which keeps the rate of false passes, and fails if one
    fails. Since any of them may fail by chance, each may do so in its part of the rate only.
    """
    if not evidence:
        return unjudged(sla, "no phone measured it"), ()
    errors = _Errors(FALSE_PASS, FALSE_FAIL / len(evidence))
    phones = tuple(
        PhoneVerdict(device_id, _judge(sla, each, errors), each.launches)
        for device_id, each in sorted(evidence.items())
    )
    if len(phones) == 1:
        return phones[0].verdict, phones
    bounds = tuple(_over_phones(phones, index) for index in range(len(sla.bounds)))
    return _together(bounds), phones


def unjudged(sla: Sla, reason: str) -> SlaVerdict:
    """The verdict when there is nothing to judge: every bound is inconclusive for ``reason``."""
    return _together(
        tuple(BoundVerdict(bound, Verdict.INCONCLUSIVE, None, reason) for bound in sla.bounds),
        nothing=Verdict.INCONCLUSIVE,
    )


def _judge(sla: Sla, evidence: Evidence, errors: _Errors) -> SlaVerdict:
    return _together(tuple(_judge_bound(bound, evidence, errors) for bound in sla.bounds))


def _judge_bound(bound: Bound, evidence: Evidence, errors: _Errors) -> BoundVerdict:
    interval = observed(bound.metric, evidence.score)
    if interval is None:
        why = evidence.score.energy.reason or "no reading"
        return BoundVerdict(bound, Verdict.INCONCLUSIVE, None, f"not measured: {why}")
    values = launched(bound.metric, evidence.values) if evidence.values else None
    if values:
        verdict, more, why = _by_launches(values, bound.limit, errors)
    elif bound.metric in _WITHIN_BOUNDS:
        verdict, more, why = _by_bounds(bound, interval)
    else:
        verdict, more, why = _by_interval(bound, interval, errors)
    text = f"{describe(bound.metric, interval)} against {format_bound(bound)}: {why}"
    return BoundVerdict(bound, verdict, interval, text, more)


def _by_launches(
    values: Sequence[float], limit: float, errors: _Errors
) -> tuple[Verdict, int, str]:
    found = judge_launches(values, limit, errors.false_pass, errors.false_fail)
    within = sum(value <= limit for value in values)
    count = f"{len(values)} launches" if len(values) > 1 else "one launch"
    if found.verdict is Verdict.PASS:
        why = f"within, in {within} of {count}"
    elif found.verdict is Verdict.FAIL:
        why = f"beyond, in {len(values) - within} of {count}"
    else:
        more = f"about {found.more_launches} more would settle it"
        none = "more would hardly settle it, its median lies at the limit"
        return (
            found.verdict,
            found.more_launches,
            f"within in {within} of {count}; {more if found.more_launches else none}",
        )
    return found.verdict, 0, f"{why} ({errors.said(found.verdict)})"


def _by_interval(bound: Bound, interval: Interval, errors: _Errors) -> tuple[Verdict, int, str]:
    verdict = (
        judge_interval(interval, bound.limit, errors.false_pass, errors.false_fail)
        if interval.bounded
        else Verdict.INCONCLUSIVE
    )
    if verdict is Verdict.INCONCLUSIVE:
        remedy = "test samples" if bound.metric is Metric.ACCURACY_DROP else "launches"
        return verdict, 0, f"too near the limit to tell; more {remedy} would settle it"
    word = "within" if verdict is Verdict.PASS else "beyond"
    return verdict, 0, f"{word} ({errors.said(verdict)})"


def _by_bounds(bound: Bound, interval: Interval) -> tuple[Verdict, int, str]:
    if interval.high <= bound.limit:
        return Verdict.PASS, 0, "within"
    if interval.low > bound.limit:
        return Verdict.FAIL, 0, "beyond"
    why = "the meter cannot tell; one that tells less apart, or longer launches, would settle it"
    return Verdict.INCONCLUSIVE, 0, why


def _over_phones(phones: Sequence[PhoneVerdict], index: int) -> BoundVerdict:
    """One bound over all phones: the worst verdict, in the words of the phone worst off."""
    told = [(each.device_id, each.verdict.bounds[index]) for each in phones]

    def badness(each: tuple[str, BoundVerdict]) -> tuple[int, float]:
        seen = each[1].observed
        return _BADNESS[each[1].verdict], seen.value if seen else 0.0

    device_id, worst = max(told, key=badness)
    if worst.verdict is Verdict.PASS:
        return replace(worst, reason=f"on all {len(phones)} phones; {device_id}: {worst.reason}")
    more = max(each.more_launches for _, each in told if each.verdict is worst.verdict)
    return replace(worst, reason=f"{device_id}: {worst.reason}", more_launches=more)


def _together(bounds: tuple[BoundVerdict, ...], nothing: Verdict = Verdict.PASS) -> SlaVerdict:
    verdicts = {each.verdict for each in bounds}
    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        if verdict in verdicts:
            return SlaVerdict(verdict, bounds)
    return SlaVerdict(Verdict.PASS if bounds else nothing, bounds)
