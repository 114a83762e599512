"""A table with aims and results, and the exit status that goes with it."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

CONSOLE = Console(width=140)


@dataclass(frozen=True)
class Row:
    """A line of a table; ``kept`` is None where nothing is promised."""

    cells: tuple[str, ...]
    kept: bool | None


def options(description: str, recorded: Path) -> argparse.ArgumentParser:
    """The options that all of these benches have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--launches", type=Path, default=recorded, help="recorded launches, JSON")
    parser.add_argument("--seed", type=int, default=1)
    return parser


def report(title: str, columns: Sequence[str], rows: Sequence[Row]) -> bool:
    """Print a table; whether every aim was kept."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate((*columns, "kept")):
        table.add_column(column, justify="right" if index else "left", no_wrap=index == 0)
    for row in rows:
        kept = "" if row.kept is None else "yes" if row.kept else "NO"
        table.add_row(*row.cells, kept)
    CONSOLE.print(table)
    return all(row.kept is not False for row in rows)
