"""What a search spends: counted while it runs, and told in the same words everywhere; pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from distillfarm.controller.orders import Taken
from distillfarm.domain.study import Budget, Spent


@dataclass
class Tally:
    """What was spent on one chipset so far."""

    measurements: int = 0
    reused: int = 0
    launches: int = 0
    device_s: float = 0.0
    waited_s: float = 0.0

    def add(self, taken: Iterable[Taken]) -> None:
        """Count what came of orders."""
        for each in taken:
            self.measurements += bool(each.launches)
            self.reused += each.reused
            self.launches += each.launches
            self.device_s += each.device_s
            self.waited_s += each.waited_s


def exhausted(budget: Budget, launches: int, device_s: float) -> str:
    """Which budget of a chipset is spent, for people; nothing while there is some left."""
    if budget.launches and launches >= budget.launches:
        return f"its {budget.launches} launches are spent, its search ends here"
    if budget.device_s and device_s >= budget.device_s:
        return f"its {budget.device_s:g} s of devices are spent, its search ends here"
    return ""


def spending(spent: Spent) -> Iterator[str]:
    """Sentences: what finding the best took, against a full grid, and what judging it took."""
    share = f" ({spent.launches / spent.grid_launches:.0%})" if spent.grid_launches else ""
    yield (
        f"The search made {_count(spent.launches, 'launch')} to find the best of"
        f" {_count(spent.candidates, 'candidate')}; measuring each three times takes"
        f" {spent.grid_launches}{share}."
    )
    saved = []
    if spent.skipped:
        saved.append(f"{spent.skipped} were skipped without a launch")
    if spent.reused:
        saved.append(f"{_count(spent.reused, 'measurement')} had been made before")
    if saved:
        yield f"{' and '.join(saved)}."
    yield (
        f"{_count(spent.final_launches, 'fresh launch')} more judged the best and the original"
        f" beside it. Devices were held for {spent.device_s:.0f} s in all, {spent.waited_s:.0f} s"
        " of it waiting at gates."
    )


def _count(number: int, noun: str) -> str:
    if number == 1:
        return f"{number} {noun}"
    return f"{number} {noun}{'es' if noun.endswith('ch') else 's'}"
