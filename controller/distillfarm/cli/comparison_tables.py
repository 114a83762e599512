"""What a comparison says, in a terminal."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from distillfarm.cli import formats
from distillfarm.cli.console import harmless, row, table
from distillfarm.cli.pictures import crowd
from distillfarm.client.comparing import Compared, Side
from distillfarm.controller.differences import (
    TITLES,
    by_how_much,
    found,
    value,
    verdict,
    what_would_tell,
)
from distillfarm.controller.fates import UNSTABLE
from distillfarm.domain.measurement import Comparison, Finding, Outcome
from distillfarm.statistics.summary import launch_values

_STYLES = {Finding.FASTER: "green", Finding.SLOWER: "red", Finding.NO_DIFFERENCE: ""}


def comparison_tables(first: str, second: str, compared: Compared) -> Iterator[RenderableType]:
    """Lines and tables on the artifacts of these names."""
    yield _line(_head(first, second, compared))
    for name, side in zip(("A", "B"), compared.sides, strict=False):
        if side.outcome is not Outcome.OK:
            yield _line(f"{name}: {side.outcome.value}: {side.reason}", "red")
        elif side.summary is not None and not side.summary.stable:
            yield _line(f"{name} is {UNSTABLE}: {side.summary.instability}", "yellow")
    if compared.first.emulated:
        yield _line("EMULATED: what an emulated device takes says nothing of a real one", "yellow")
    if not compared.comparisons:
        return
    yield from (Text(), _quantities(compared), Text(), _launches(compared.sides))
    yield _line(_footnote(compared.comparisons[0]), "dim")


def _head(first: str, second: str, compared: Compared) -> str:
    own, other = compared.sides[0], compared.sides[-1]
    where = str(own.target) if own.target == other.target else f"{own.target} and {other.target}"
    devices = {compared.first.device_id, (compared.second or compared.first).device_id}
    how = "measured apart" if compared.second else "launched in turn"
    said = verdict(compared.comparisons)
    head = f"B {second} against A {first}, {how} on {', '.join(sorted(devices))}, {where}"
    return f"{head}: {said}" if said else head


def _quantities(compared: Compared) -> RenderableType:
    launches = min(len(each.launches) for each in compared.sides)
    numbers = ("A", "B", "B against A")
    made = table(
        f"{launches} launches of each; [] is the 95 % interval of a value, 99 % of a difference",
        "quantity", *numbers, "B is", "it would probably be shown by", right=numbers,
    )  # fmt: skip
    for each in compared.comparisons:
        row(
            made,
            TITLES[each.metric],
            *(value(side.summary, each.metric) for side in compared.sides),
            by_how_much(each),
            found(each),
            what_would_tell(each),
            style=_STYLES[each.finding],
        )
    return made


def _launches(sides: Sequence[Side]) -> RenderableType:
    """The warm p50 of every launch of both sides on one scale."""
    values = [launch_values(each.launches).warm_p50_ms for each in sides]
    low, high = min(map(min, values)), max(map(max, values))
    made = table("Warm p50 of every launch", "", f"{formats.number(low)} ms")
    made.add_column(f"to {formats.number(high)} ms; higher: more launches")
    for name, of in zip(("A", "B"), values, strict=True):
        row(made, name, "", crowd(of, low, high))
    return made


def _footnote(comparison: Comparison) -> str:
    effect = f"{comparison.minimum_effect:.0%}"
    if comparison.interleaved:
        return f"launched in turn; measured apart, less than {effect} would show nothing here"
    return f"measured apart: on this class of device less than {effect} shows nothing"


def _line(text: str, style: str = "") -> Text:
    return Text(harmless(text), style=style)
