"""Where text for people goes: harmless to a terminal, wide enough in a pipe."""

import os
import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from distillfarm.sandbox.text import one_line

_PIPE_COLUMNS = 200
_LINE_CHARACTERS = 2000


def harmless(text: str) -> str:
    """``text`` on one line, without anything that a terminal would obey.

    Names and messages come from model files, phones and other people: an escape sequence in one
    must not colour, move or retitle the reader's terminal, nor a newline forge a line of output.
    """
    return one_line(text, _LINE_CHARACTERS)


def output() -> Console:
    """Standard output, made anew because tests and pipes replace it."""
    return _console(stderr=False)


def messages() -> Console:
    """Standard error: progress, hints and errors, so that a pipe gets results only."""
    return _console(stderr=True)


def say(text: str) -> None:
    """One line of information for people, on standard error."""
    messages().print(Text(harmless(text)), soft_wrap=True)


def show(text: str, style: str = "") -> None:
    """One line of a result, on standard output."""
    output().print(Text(harmless(text), style=style), soft_wrap=True)


def write(content: bytes) -> None:
    """A machine-readable result, exactly as it is, and a newline."""
    sys.stdout.write(content.decode() + "\n")
    sys.stdout.flush()


def table(title: str, *columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table; the columns named in ``right`` hold numbers."""
    made = Table(title_justify="left", box=None, pad_edge=False)
    if title:
        made.title = Text(harmless(title), style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def row(made: Table, *cells: str | tuple[str, ...], style: str = "") -> None:
    """Add a row of plain text, whatever it holds; a tuple is a cell of several lines."""
    lines = ((cell,) if isinstance(cell, str) else cell for cell in cells)
    made.add_row(*(Text("\n".join(map(harmless, each)), style=style) for each in lines))


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = max(console.width, _PIPE_COLUMNS)
    return console
