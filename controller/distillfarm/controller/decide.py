"""Chooses one variant for a chipset and says why; pure.

Only what was measured right, stable and on a real device can win. Among those the better verdict
goes first, then the faster warm p90; where intervals of the p90 overlap the difference is noise,
and the smaller artifact wins, then the more accurate.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from distillfarm.controller.evidence import Evidence, describe
from distillfarm.controller.scoring import search_score, violation
from distillfarm.controller.verdict import judge, unjudged
from distillfarm.domain.interval import Interval
from distillfarm.domain.measurement import Outcome
from distillfarm.domain.pareto import pareto_front
from distillfarm.domain.study import (
    Choice,
    Metric,
    Score,
    Sla,
    SlaVerdict,
    Trial,
    Verdict,
)

_ORDER = {Verdict.PASS: 0, Verdict.INCONCLUSIVE: 1, Verdict.FAIL: 2}
_SAYS = {
    Verdict.PASS: "meets every bound",
    Verdict.INCONCLUSIVE: "breaks no bound, but not every bound could be shown to hold",
    Verdict.FAIL: "nothing meets the bounds; this comes closest",
}


@dataclass(frozen=True)
class Entrant:
    """A trial with what decides whether it may win at all."""

    trial: Trial
    stable: bool = True
    emulated: bool = False

    @property
    def unstable(self) -> bool:
        """Whether a real device ran it well, but its launches differ too much for a number."""
        return self.trial.outcome is Outcome.OK and not self.stable and not self.emulated

    @property
    def lost(self) -> bool:
        """Whether it was built and no device gave an outcome: the harness's fault, not its own."""
        return self.trial.exported is not None and self.trial.outcome is None

    @property
    def hindrance(self) -> str:
        """Why it cannot win, or nothing."""
        trial = self.trial
        if trial.refusal is not None:
            return f"refused by {trial.refusal}"
        if trial.outcome is None:
            return trial.outcome_reason or "not measured"
        if self.emulated:
            return "measured on an emulated device, whose times say nothing"
        if trial.outcome is not Outcome.OK or trial.score is None:
            return f"{trial.outcome.value}: {trial.outcome_reason}"
        return "" if self.stable else "unstable: its launches differ too much"


@dataclass(frozen=True)
class _Contender:
    trial: Trial
    score: Score
    verdict: SlaVerdict

    @property
    def excess(self) -> float:
        return sum(max(violation(each.bound, self.score), 0.0) for each in self.verdict.bounds)


def shortlist(entrants: Sequence[Entrant], sla: Sla, count: int) -> list[Trial]:
    """The ``count`` trials of the search that deserve a final measurement, the best first.

    Looks at quality on the selection split only. The Pareto front in quality lost, warm p90 and
    size goes first within the same verdict: a dominated trial can only win by noise.
    """
    searched = [
        Entrant(replace(each.trial, score=search_score(each.trial)), each.stable, each.emulated)
        for each in entrants
    ]
    ranked = _ranked(_contenders(searched, sla))
    front = pareto_front({each.trial.trial_id: _objectives(each.score) for each in ranked})
    ranked.sort(key=lambda each: (_ORDER[each.verdict.verdict], each.trial.trial_id not in front))
    originals = {each.trial.trial_id: each.trial for each in entrants}
    return [originals[each.trial.trial_id] for each in ranked[:count]]


def lost(entrants: Sequence[Entrant]) -> list[str]:
    """The chipsets on which nothing of what was built could be measured, in order of name."""
    built = [each for each in entrants if each.trial.exported is not None]
    alive = {each.trial.chipset for each in built if not each.lost}
    return sorted({each.trial.chipset for each in built} - alive)


def choose(
    chipset: str, finalists: Sequence[Entrant], sla: Sla, others: Sequence[Entrant] = ()
) -> Choice:
    """The winner among final measurements; the untouched model only where nothing else passes.

    ``others`` did not get that far; they are asked only for what hindered them, and whether one
    would have been faster.
    """
    contenders = _contenders(finalists, sla)
    compressed = _ranked([each for each in contenders if not each.trial.reference])
    references = _ranked([each for each in contenders if each.trial.reference])
    if not compressed and not references:
        why = _nothing([*finalists, *others])
        return Choice(chipset, "", unjudged(sla, why), why)
    order = compressed or references
    if not _passes(compressed) and _passes(references):
        order = [references[0], *compressed]
    why = _why(order, references) + _passed_over(order[0], [*compressed, *_contenders(others, sla)])
    return Choice(chipset, order[0].trial.trial_id, order[0].verdict, why)


def front(trials: Sequence[Trial]) -> frozenset[str]:
    """Ids of the scored trials that none other of them beats in accuracy, warm p90 and size."""
    scored = {each.trial_id: each.score for each in trials if each.score is not None}
    return pareto_front({key: _objectives(value) for key, value in scored.items()})


def _contenders(entrants: Sequence[Entrant], sla: Sla) -> list[_Contender]:
    return [
        _Contender(each.trial, each.trial.score, judge(sla, Evidence(each.trial.score)))
        for each in entrants
        if not each.hindrance and each.trial.score is not None
    ]


def _ranked(contenders: Sequence[_Contender]) -> list[_Contender]:
    left = sorted(
        contenders,
        key=lambda each: (
            _ORDER[each.verdict.verdict],
            each.excess,
            each.score.warm_p90_ms.value,
            each.trial.trial_id,
        ),
    )
    ranked: list[_Contender] = []
    while left:
        first = left[0]
        tied = [each for each in left if _tied(first, each)]
        best = min(tied, key=lambda each: (each.score.size_bytes, each.score.quality_drop.value))
        ranked.append(best)
        left.remove(best)
    return ranked


def _passes(ranked: Sequence[_Contender]) -> bool:
    return bool(ranked) and ranked[0].verdict.verdict is Verdict.PASS


def _tied(first: _Contender, other: _Contender) -> bool:
    alike = first.verdict.verdict is other.verdict.verdict and first.excess == other.excess
    return alike and _overlap(first.score.warm_p90_ms, other.score.warm_p90_ms)


def _overlap(left: Interval, right: Interval) -> bool:
    return left.low <= right.high and right.low <= left.high


def _objectives(score: Score) -> tuple[float, ...]:
    return (score.quality_drop.value, score.warm_p90_ms.value, float(score.size_bytes))


def _why(order: Sequence[_Contender], references: Sequence[_Contender]) -> str:
    chosen = order[0]
    parts = [
        f"{_name(chosen)}: {_SAYS[chosen.verdict.verdict]}.",
        f"Warm p90 {describe(Metric.WARM_P90, chosen.score.warm_p90_ms)}.",
    ]
    if not chosen.trial.reference:
        parts.extend(_against_reference(chosen, references))
    elif len(order) > 1:
        parts.append("No compressed variant could be shown to meet the bounds.")
    if len(order) > 1:
        parts.append(_second(chosen, order[1]))
    return " ".join(parts)


def _against_reference(chosen: _Contender, references: Sequence[_Contender]) -> list[str]:
    same = [each for each in references if _target(each) == _target(chosen)] or references
    if not same:
        return ["The original could not be measured beside it."]
    original = same[0].score
    ours, theirs = chosen.score.warm_p90_ms, original.warm_p90_ms
    ratio = theirs.value / ours.value
    if _overlap(ours, theirs):
        speed = "no different in speed"
    else:
        speed = f"{ratio:.2g}x faster" if ratio > 1 else f"{1 / ratio:.2g}x slower"
    return [
        f"Against the original on {same[0].trial.candidate.target}:"
        f" {original.size_bytes / chosen.score.size_bytes:.3g}x smaller, {speed},"
        f" given up {describe(Metric.ACCURACY_DROP, chosen.score.quality_drop)} of quality."
    ]


def _second(chosen: _Contender, second: _Contender) -> str:
    if second.verdict.verdict is not chosen.verdict.verdict:
        return f"Second is {_name(second)}, which {_judged(second)}."
    ours, theirs = chosen.score.warm_p90_ms, second.score.warm_p90_ms
    if _overlap(ours, theirs):
        larger = second.score.size_bytes / chosen.score.size_bytes
        return (
            f"Second is {_name(second)}: its p90 cannot be told apart,"
            f" its file is {larger:.3g}x the size."
        )
    return f"Second is {_name(second)}, {theirs.value / ours.value - 1:.0%} slower in p90."


def _passed_over(chosen: _Contender, contenders: Sequence[_Contender]) -> str:
    """A word on the fastest that was clearly faster, and judged worse."""
    ours = chosen.score.warm_p90_ms
    faster = [
        each
        for each in contenders
        if each.score.warm_p90_ms.high < ours.low
        and _ORDER[each.verdict.verdict] > _ORDER[chosen.verdict.verdict]
    ]
    if not faster:
        return ""
    fastest = min(faster, key=lambda each: each.score.warm_p90_ms.value)
    ratio = ours.value / fastest.score.warm_p90_ms.value
    return f" Passed over: {_name(fastest)}, {ratio:.2g}x faster, which {_judged(fastest)}."


def _judged(contender: _Contender) -> str:
    worst = [
        each.reason
        for each in contender.verdict.bounds
        if each.verdict is contender.verdict.verdict
    ]
    return f"is judged {contender.verdict.verdict.value} ({'; '.join(worst)})"


def _nothing(entrants: Sequence[Entrant]) -> str:
    emulated = [each for each in entrants if each.emulated]
    if emulated and not any(each.trial.outcome and not each.emulated for each in entrants):
        return (
            "Not judged: only emulated devices of this chipset took part, whose times say nothing"
            f" of a real one. Candidates that ran there: {len(emulated)}."
        )
    reasons = {f"{each.trial.candidate}: {each.hindrance}": None for each in entrants}
    return f"Nothing can be chosen. {'; '.join(reasons) or 'There were none.'}"


def _name(contender: _Contender) -> str:
    return str(contender.trial.candidate)


def _target(contender: _Contender) -> str:
    return str(contender.trial.candidate.target)
