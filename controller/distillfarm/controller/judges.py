"""The phones of one chipset that judge: which they are, and what each is asked for; pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from distillfarm.controller.judgement import Judgement, more_launches
from distillfarm.controller.lab import ChipsetLab
from distillfarm.controller.orders import Order, Taken
from distillfarm.domain.hardware import Target
from distillfarm.domain.study import Trial, Verdict


@dataclass
class Judges:
    """As many phones as are ``wanted``, of those that are in ``place`` and were not lost.

    ``dead`` are those that did not measure what they were asked for.
    """

    place: ChipsetLab
    wanted: int
    dead: set[str] = field(default_factory=set)
    remarks: list[str] = field(default_factory=list)
    _asked: set[str] = field(default_factory=set)

    def able(self, target: Target) -> tuple[str, ...]:
        """Those that judge what runs on ``target``."""
        able = [
            each.device_id
            for each in self.place.phones
            if each.device_id not in self.dead and each.version(target) is not None
        ]
        return tuple(able[: self.wanted])

    def orders(
        self, trial: Trial, launches: int, judged: Judgement | None, *, disturbed: bool
    ) -> list[Order]:
        """Launches on each phone, none on one that has decided every bound."""
        orders = []
        for phone in self.able(trial.candidate.target):
            count = launches
            phones = judged.phones if judged else ()
            here = next((each for each in phones if each.device_id == phone), None)
            if here is not None and not disturbed:
                count = min(launches, more_launches(here.verdict))
            if count:
                orders.append(Order(trial, self.place, count, phone))
        return orders

    def missing(self, trial: Trial, judged: Judgement) -> bool:
        """Whether it passed on fewer phones than it can be measured on."""
        if judged.verdict.verdict is not Verdict.PASS:
            return False
        seen = {each.device_id for each in judged.phones}
        able = self.able(trial.candidate.target)
        return len(seen) < self.wanted and not seen.issuperset(able)

    def tell(self, taken: Iterable[Taken]) -> None:
        """Take note of phones that are lost."""
        for each in taken:
            self._asked.add(each.device_id)
            if not each.measured and each.device_id not in self.dead:
                self.dead.add(each.device_id)
                self.remarks.append(
                    f"{each.device_id} was lost during the verification"
                    f" ({each.trial.outcome_reason or 'its job failed'})."
                )

    @property
    def gone(self) -> set[str]:
        """Those of whom nothing more is to be heard."""
        there = {each.device_id for each in self.place.phones}
        return self.dead | (self._asked - there)

    def said(self) -> list[str]:
        """Why there were fewer than wanted, and what became of them."""
        if not self.place.phones and not self._asked:
            return ["When the search was over none of the chipset's devices was left."]
        alive = [each for each in self.place.phones if each.device_id not in self.dead]
        if len(alive) >= self.wanted or not self._asked - self.dead:
            return self.remarks
        count = f"{len(alive)} device{'' if len(alive) == 1 else 's'}"
        few = (
            f"The lab had {count} of this chipset where {self.wanted} were asked for, so"
            " how devices of it differ is not shown."
        )
        return [few, *self.remarks]
