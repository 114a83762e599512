"""Rows as tables: for a terminal, as Markdown, as JSON."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console, JustifyMethod
from rich.table import Table

from distillfarm.domain.interval import Interval
from distillfarm.domain.variant import PassOutcome
from techniques.judging import Match, Row

_SHORT = 90
_NAME_WIDTH = 60
_REFUSED = f"{PassOutcome.REFUSED.value}: "
_OUTCOMES = tuple(f"{each.value}: " for each in PassOutcome)


@dataclasses.dataclass(frozen=True)
class Sheet:
    """A table with its title and what is to be known of it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


_COLUMNS = (
    "recipe",
    "size",
    "smaller",
    "accuracy % [95 %]",
    "drop pt [95 %]",
    "agree %",
    "us",
    "faster [95 %]",
    "s",
    "peak MB",
)


def sheet(title: str, rows: Sequence[Row], note: str = "") -> Sheet:
    """One line for each row."""
    return Sheet(title, _COLUMNS, tuple(map(_line, rows)), note)


def matches(title: str, found: Sequence[Match]) -> Sheet:
    """Each peer's file beside the row of ours that is at least as good."""
    columns = ("peer", "size", "accuracy %", "faster", "ours", "size", "lost pt [95 %]", "faster")
    return Sheet(title, columns, tuple(map(_versus, found)))


def show(console: Console, each: Sheet) -> None:
    """Print it."""
    table = Table(title=each.title, title_justify="left")
    for number, name in enumerate(each.columns):
        width = None if number else _NAME_WIDTH
        justify: JustifyMethod = "right" if number else "left"
        table.add_column(name, justify=justify, overflow="fold", max_width=width)
    for row in each.rows:
        table.add_row(*row)
    console.print(table)
    if each.note:
        console.print(each.note)


def markdown(sheets: Sequence[Sheet]) -> str:
    """All of them for a page."""
    parts = []
    for each in sheets:
        lines = [f"### {each.title}", "", _cells(each.columns), _cells(["---"] * len(each.columns))]
        lines += [_cells(row) for row in each.rows]
        parts.append("\n".join([*lines, *(["", each.note] if each.note else [])]))
    return "\n\n".join(parts) + "\n"


def write(path: Path, rows: Sequence[Row], sheets: Sequence[Sheet]) -> None:
    """As JSON or as Markdown, by the name's ending."""
    if path.suffix == ".md":
        path.write_text(markdown(sheets))
        return
    # Answers are what the rows were judged by, not what is told.
    plain = [dataclasses.replace(row, outputs={}) for row in rows]
    path.write_bytes(msgspec.json.format(msgspec.json.encode(plain), indent=1))


def _line(row: Row) -> tuple[str, ...]:
    if row.refused or row.quality is None or row.drop is None or row.agreement is None:
        return (f"{row.name}: {_short(row.refused)}", *[""] * (len(_COLUMNS) - 1))
    quality, faster = row.quality, row.faster
    return (
        row.name,
        f"{row.size_bytes / 1e3:.1f} KB{' packed' if row.packs else ''}",
        f"{row.smaller:.1f}x",
        f"{100 * quality.value:.1f} [{100 * quality.low:.1f}, {100 * quality.high:.1f}]",
        _interval(row.drop),
        f"{100 * row.agreement.value:.1f}",
        f"{1e3 * row.ms:.1f}",
        f"{faster.value:.2f}x [{faster.low:.2f}, {faster.high:.2f}]" if faster else "",
        f"{row.seconds:.0f}",
        f"{row.peak_rss_bytes / 1e6:.0f}",
    )


def _versus(each: Match) -> tuple[str, ...]:
    peer, ours = each.peer, each.ours
    if peer.refused or peer.quality is None or peer.faster is None:
        return (f"{peer.name}: no file: {peer.refused[:_SHORT]}", *[""] * 7)
    left = (
        peer.name,
        f"{peer.size_bytes / 1e3:.1f} KB",
        f"{100 * peer.quality.value:.1f}",
        f"{peer.faster.value:.2f}x",
    )
    if ours is None or ours.faster is None or each.lost is None:
        return (*left, "NONE AS GOOD", "", "", "")
    return (
        *left,
        ours.name,
        f"{ours.size_bytes / 1e3:.1f} KB",
        _interval(each.lost),
        f"{ours.faster.value:.2f}x",
    )


def _interval(each: Interval) -> str:
    return f"{each.value:.2f} [{each.low:.2f}, {each.high:.2f}]"


def _cells(row: Sequence[str]) -> str:
    return f"| {' | '.join(each.replace('|', '/') for each in row)} |"


def _short(text: str) -> str:
    # The name of the pass that refused stands before; its outcome and the reason are wanted.
    reason = next(
        (text[text.index(each) :] for each in _OUTCOMES if each in text), f"{_REFUSED}{text}"
    )
    return reason if len(reason) <= _SHORT else f"{reason[: _SHORT - 3]}..."
