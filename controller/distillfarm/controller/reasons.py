"""Says why a variant was chosen, what was given up for it, and what is still open; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from distillfarm.controller.contrasts import NAMES, compared, in_size, least
from distillfarm.controller.evidence import Evidence, describe, observed
from distillfarm.controller.verdict import judge
from distillfarm.domain.sla import format_bound
from distillfarm.domain.study import (
    Metric,
    PhoneVerdict,
    Score,
    Sla,
    SlaVerdict,
    Trial,
    Verdict,
)

_SAYS = {
    Verdict.PASS: "meets every bound",
    Verdict.INCONCLUSIVE: "breaks no bound, but not every bound could be shown to hold",
    Verdict.FAIL: "nothing meets the bounds; this comes closest",
}


@dataclass(frozen=True)
class Contender:
    """A candidate with what its fresh launches showed."""

    trial: Trial
    score: Score
    verdict: SlaVerdict
    phones: tuple[PhoneVerdict, ...] = ()


@dataclass(frozen=True)
class Surroundings:
    """What a choice is compared with.

    ``measured`` are all scored trials of the chipset, one a candidate, and ``references`` the
    originals among them; ``rejected`` were measured anew, too.
    """

    objective: Metric
    knee_trial_id: str
    measured: tuple[Trial, ...]
    references: tuple[Trial, ...]
    rejected: tuple[Contender, ...] = ()
    remarks: tuple[str, ...] = ()


def why(chosen: Contender, around: Surroundings, sla: Sla) -> str:
    """Why this variant on this chipset, in sentences."""
    return " ".join(
        [
            f"{chosen.trial.candidate}: {_SAYS[chosen.verdict.verdict]}.",
            *_broken(chosen.verdict),
            *_quantity(chosen, around.objective),
            *_phones(chosen.phones),
            *around.remarks,
            *_against_reference(chosen, around),
            *_rejected(around.rejected),
            *_surpassed(around.rejected, around.objective),
            *_against_others(chosen, around, sla),
            *_settling(chosen.verdict),
        ]
    )


def not_verified(leader: Trial, remarks: Sequence[str]) -> str:
    """Why nothing is judged although the search found something."""
    return " ".join(
        [
            f"{leader.candidate} led the search, but could not be measured anew, and the launches"
            " that chose it cannot judge it.",
            *remarks,
        ]
    )


def _broken(verdict: SlaVerdict) -> list[str]:
    """Which bounds do not hold."""
    told = [each.reason for each in verdict.bounds if each.verdict is Verdict.FAIL]
    return [f"Broken: {'; '.join(told)}."] if told else []


def _quantity(chosen: Contender, objective: Metric) -> list[str]:
    seen = observed(objective, chosen.score)
    name = NAMES[objective]
    if seen is None:
        return [f"Its {name} was not measured: {chosen.score.energy.reason or 'no reading'}."]
    return [f"{name[0].upper()}{name[1:]} {describe(objective, seen)}."]


def _phones(phones: Sequence[PhoneVerdict]) -> list[str]:
    if not phones:
        return []
    told = " and ".join(f"{each.device_id} ({each.launches} launches)" for each in phones)
    if len(phones) == 1:
        return [f"Judged by fresh launches on one device alone, {told}."]
    return [f"Judged by fresh launches on {len(phones)} devices: {told}."]


def _against_reference(chosen: Contender, around: Surroundings) -> list[str]:
    if chosen.trial.reference:
        return ["No compressed variant could be shown to meet the bounds."]
    target = chosen.trial.candidate.target
    same = [each for each in around.references if each.candidate.target == target]
    original = next(iter(same or around.references), None)
    if original is None or original.score is None:
        return ["The original could not be measured beside it."]
    parts = [in_size(chosen.score, original.score), _speed(chosen.score, original.score, around)]
    drop = describe(Metric.ACCURACY_DROP, chosen.score.quality_drop)
    return [
        f"Against the original on {original.candidate.target}: {', '.join(parts)},"
        f" given up {drop} of quality."
    ]


def _speed(ours: Score, theirs: Score, around: Surroundings) -> str:
    told = [compared(Metric.WARM_P90, ours.warm_p90_ms, theirs.warm_p90_ms)]
    if around.objective not in (Metric.WARM_P90, Metric.SIZE, Metric.ACCURACY_DROP):
        mine, original = observed(around.objective, ours), observed(around.objective, theirs)
        if mine is not None and original is not None:
            told.append(compared(around.objective, mine, original))
    return ", ".join(told)


def _rejected(rejected: Sequence[Contender]) -> list[str]:
    """What was measured anew and not taken."""
    told = [
        f"{each.trial.candidate} is judged {_judged(each.verdict)}"
        for each in rejected
        if each.verdict.verdict is not Verdict.PASS
    ]
    return [f"Measured anew and not taken: {'; '.join(told)}."] if told else []


def _surpassed(rejected: Sequence[Contender], objective: Metric) -> list[str]:
    """What passed, too, and is not as good by the objective."""
    told = [
        f"{each.trial.candidate}, {NAMES[objective]} {describe(objective, seen)}"
        for each in rejected
        if each.verdict.verdict is Verdict.PASS
        and not each.trial.reference
        and (seen := observed(objective, each.score)) is not None
    ]
    return [f"Passed as well: {'; '.join(told)}."] if told else []


def _against_others(chosen: Contender, around: Surroundings, sla: Sla) -> list[str]:
    """Against the knee, and what is best in the objective and in size."""
    at_knee = next((e for e in around.measured if e.trial_id == around.knee_trial_id), None)
    if at_knee is not None and at_knee.candidate == chosen.trial.candidate:
        said = ["It is the knee of the front: every step from it gives up more than it gains."]
        at_knee = None
    else:
        said = []
    others = [
        each
        for each in around.measured
        if each.candidate != chosen.trial.candidate and not each.reference
    ]
    found = {
        "the knee of the front": at_knee if at_knee in others else None,
        least(around.objective): _best(others, around.objective, chosen),
        least(Metric.SIZE): _best(others, Metric.SIZE, chosen),
    }
    titles: dict[str, list[str]] = {}
    for title, trial in found.items():
        if trial is not None:
            titles.setdefault(trial.trial_id, []).append(title)
    named = {each.trial_id: each for each in others}
    return said + [
        _given_up(title, named[key], chosen, around, sla) for key, title in titles.items()
    ]


def _best(others: Sequence[Trial], metric: Metric, chosen: Contender) -> Trial | None:
    """The best of the others in a quantity, if it is clearly better than what was chosen."""
    ours = observed(metric, chosen.score)
    seen = [
        (value.value, each.trial_id, each)
        for each in others
        if each.score is not None and (value := observed(metric, each.score)) is not None
        if ours is None or value.high < ours.low
    ]
    return min(seen)[2] if seen else None


def _given_up(
    titles: Sequence[str], other: Trial, chosen: Contender, around: Surroundings, sla: Sla
) -> str:
    if other.score is None:
        raise ValueError(f"{other.trial_id} has no score")
    metrics = dict.fromkeys((around.objective, Metric.SIZE, Metric.ACCURACY_DROP))
    pairs = [(m, observed(m, other.score), observed(m, chosen.score)) for m in metrics]
    told = [compared(m, theirs, ours) for m, theirs, ours in pairs if theirs and ours]
    verdict = judge(sla, Evidence(other.score))
    judged = ""
    if verdict.verdict is not Verdict.PASS:
        judged = f"; by its search it would be judged {_judged(verdict)}"
    *first, last = titles
    title = f"{', '.join(first)} and {last}" if first else last
    return f"{title[0].upper()}{title[1:]}, {other.candidate}, is {', '.join(told)}{judged}."


def _settling(verdict: SlaVerdict) -> list[str]:
    """What would settle the bounds that are open."""
    if verdict.verdict is not Verdict.INCONCLUSIVE:
        return []
    told = []
    for each in verdict.bounds:
        if each.verdict is not Verdict.INCONCLUSIVE:
            continue
        if each.more_launches:
            told.append(f"{format_bound(each.bound)}: about {each.more_launches} more launches")
        elif each.bound.metric is Metric.ACCURACY_DROP:
            told.append(f"{format_bound(each.bound)}: more test samples")
        elif each.observed is None:
            told.append(f"{format_bound(each.bound)}: an instrument that measures it")
        else:
            told.append(f"{format_bound(each.bound)}: no number of launches that is worth it")
    return [f"What would settle it: {'; '.join(told)}."] if told else []


def _judged(verdict: SlaVerdict) -> str:
    worst = [each.reason for each in verdict.bounds if each.verdict is verdict.verdict]
    return f"{verdict.verdict.value} ({'; '.join(worst)})"
