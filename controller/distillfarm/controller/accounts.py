"""What a search spent, in the same words everywhere; pure."""

from collections.abc import Iterator

from distillfarm.domain.study import Spent


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
