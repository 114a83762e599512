"""Chooses one variant for a chipset; pure.

Only what was measured right, stable and on a real device can win. The search says in what order
candidates are measured anew, and what those fresh launches alone show judges them: the best that
passes is chosen. Where none does, the untouched model is, if it passes; else the best of those that
are open, else the one that comes closest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from distillfarm.controller import reasons
from distillfarm.controller.front import front, knee
from distillfarm.controller.reasons import Contender, Surroundings
from distillfarm.controller.scoring import violation
from distillfarm.controller.verdict import unjudged
from distillfarm.domain.measurement import Outcome
from distillfarm.domain.study import (
    Choice,
    Metric,
    PhoneVerdict,
    Score,
    Sla,
    SlaVerdict,
    Spent,
    Trial,
    Verdict,
)

_ORDER = {Verdict.PASS: 0, Verdict.INCONCLUSIVE: 1, Verdict.FAIL: 2}


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
    def hindrance(self) -> str:
        """Why it cannot win, or nothing."""
        trial = self.trial
        if trial.refusal is not None:
            return f"refused by {trial.refusal}"
        if trial.outcome is None:
            return trial.skipped or trial.outcome_reason or "not measured"
        if self.emulated:
            return "measured on an emulated device, whose times say nothing"
        if trial.outcome is not Outcome.OK or trial.score is None:
            return f"{trial.outcome.value}: {trial.outcome_reason}"
        return "" if self.stable else "unstable: its launches differ too much"


@dataclass(frozen=True)
class Verified:
    """A candidate that was measured anew, judged by those launches alone, on each phone and all."""

    entrant: Entrant
    verdict: SlaVerdict
    phones: tuple[PhoneVerdict, ...] = ()

    @property
    def trial(self) -> Trial:
        """The final trial."""
        return self.entrant.trial


@dataclass(frozen=True)
class Found:
    """All that a choice is made of, on one chipset.

    ``verified`` are candidates and originals measured anew, the best that passed first, the others
    in the order in which that was done;
    ``beside`` originals that were measured for comparison. ``searched`` are all trials of the
    search, those that lead first. ``remarks`` are sentences on how the verification went.
    """

    chipset: str
    verified: tuple[Verified, ...] = ()
    beside: tuple[Entrant, ...] = ()
    searched: tuple[Entrant, ...] = ()
    remarks: tuple[str, ...] = ()
    spent: Spent | None = None


def choose(found: Found, sla: Sla, objective: Metric = Metric.WARM_P90) -> Choice:
    """The winner, with why in words, the front around it and what was spent."""
    able = [each for each in found.verified if not each.entrant.hindrance]
    compressed = _ordered([each for each in able if not each.trial.reference])
    references = _ordered([each for each in able if each.trial.reference])
    order = compressed or references
    if references and _passes(references) and not _passes(compressed):
        order = [references[0], *compressed]
    measured = _measured(found)
    on_front = tuple(each for each in _ids(measured) if each in front(measured, objective))
    at_knee = knee(measured, objective)
    if not order:
        return _unverified(found, sla, on_front, at_knee)
    winner = order[0]
    around = Surroundings(
        objective=objective,
        knee_trial_id=at_knee,
        measured=tuple(measured),
        references=tuple(each for each in measured if each.reference),
        rejected=tuple(_contender(each) for each in able if each is not winner),
        remarks=found.remarks,
    )
    return Choice(
        found.chipset,
        winner.trial.trial_id,
        winner.verdict,
        reasons.why(_contender(winner), around, sla),
        winner.phones,
        on_front,
        at_knee,
        found.spent,
    )


def _unverified(found: Found, sla: Sla, on_front: tuple[str, ...], at_knee: str) -> Choice:
    """What leads the search where nothing could be measured anew; nothing where nothing leads."""
    leaders = [each for each in found.searched if not each.hindrance]
    hindered = [
        *(each.entrant for each in found.verified),
        *found.beside,
        *(each for each in found.searched if each.hindrance),
    ]
    if leaders:
        why = reasons.not_verified(leaders[0].trial, found.remarks)
        trial_id = leaders[0].trial.trial_id
    else:
        trial_id = ""
        why = _nothing(hindered)
    verdict = unjudged(sla, why)
    return Choice(found.chipset, trial_id, verdict, why, (), on_front, at_knee, found.spent)


def _ordered(verified: Sequence[Verified]) -> list[Verified]:
    """The best verdict first; of those that fail the nearest; else in the order given."""

    def rank(each: Verified) -> tuple[int, float]:
        failed = each.verdict.verdict is Verdict.FAIL
        excess = _excess(each.verdict, each.trial.score) if failed and each.trial.score else 0.0
        return _ORDER[each.verdict.verdict], excess

    return sorted(verified, key=rank)


def _excess(verdict: SlaVerdict, score: Score) -> float:
    return sum(max(violation(each.bound, score), 0.0) for each in verdict.bounds)


def _passes(ordered: Sequence[Verified]) -> bool:
    return bool(ordered) and ordered[0].verdict.verdict is Verdict.PASS


def _contender(verified: Verified) -> Contender:
    if verified.trial.score is None:
        raise ValueError(f"{verified.trial.trial_id} has no score")
    return Contender(verified.trial, verified.trial.score, verified.verdict, verified.phones)


def _measured(found: Found) -> list[Trial]:
    """One scored trial a candidate, that of the fresh launches where there is one."""
    final = [each.entrant for each in found.verified]
    latest: dict[str, Trial] = {}
    for each in (*found.searched, *found.beside, *final):
        if not each.hindrance:
            latest[str(each.trial.candidate)] = each.trial
    return list(latest.values())


def _ids(trials: Sequence[Trial]) -> list[str]:
    return [each.trial_id for each in trials]


def _nothing(entrants: Sequence[Entrant]) -> str:
    emulated = [each for each in entrants if each.emulated]
    if emulated and not any(each.trial.outcome and not each.emulated for each in entrants):
        return (
            "Not judged: only emulated devices of this chipset took part, whose times say nothing"
            f" of a real one. Candidates that ran there: {len(emulated)}."
        )
    told = {f"{each.trial.candidate}: {each.hindrance}": None for each in entrants}
    return f"Nothing can be chosen. {'; '.join(told) or 'There were none.'}"
