"""How a trial is judged by its fresh launches, those of each phone and of all; pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from distillfarm.controller.evidence import Evidence
from distillfarm.controller.verdict import judge_phones
from distillfarm.domain.study import PhoneVerdict, Sla, SlaVerdict, Verdict


@dataclass(frozen=True)
class Judgement:
    """One trial by all its fresh launches: on all phones together, and on each."""

    trial_id: str
    verdict: SlaVerdict
    phones: tuple[PhoneVerdict, ...]


def judgement(
    trial_id: str, sla: Sla, evidence: Mapping[str, Evidence], lost: Collection[str]
) -> Judgement:
    """How a trial is judged by what it showed on each phone.

    A phone that was ``lost`` before it had decided anything says nothing, as long as others do:
    waiting for it would leave the bound open for ever.
    """
    verdict, phones = judge_phones(sla, evidence)
    silent = {
        each.device_id
        for each in phones
        if each.device_id in lost and each.verdict.verdict is Verdict.INCONCLUSIVE
    }
    heard = {key: shown for key, shown in evidence.items() if key not in silent}
    if silent and heard:
        verdict, phones = judge_phones(sla, heard)
    return Judgement(trial_id, verdict, phones)


def more_launches(verdict: SlaVerdict) -> int:
    """How many more launches would probably decide what launches can; 0 for a decided verdict."""
    if verdict.verdict is not Verdict.INCONCLUSIVE:
        return 0
    return max((each.more_launches for each in verdict.bounds), default=0)
