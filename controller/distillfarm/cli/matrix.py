"""``distillfarm matrix``: what runs where, and how well."""

import csv
import io
from collections.abc import Sequence
from enum import Enum
from typing import Annotated

import msgspec
import typer

from distillfarm.cli.connection import connected, run
from distillfarm.cli.console import output, show, write
from distillfarm.cli.options import Connection, with_connection
from distillfarm.domain.interval import Interval
from distillfarm.domain.study import MatrixCell, Score


class Format(Enum):
    """How the matrix is printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


_INTERVALS = (
    "quality",
    "quality_drop",
    "cold_ms",
    "warm_p50_ms",
    "warm_p90_ms",
    "warm_p99_ms",
    "peak_memory_bytes",
)
_PLAIN = (
    "study_id",
    "model_name",
    "recipe",
    "target",
    "chipset",
    "device_model",
    "os_build",
    "label",
    "reason",
    "measured_at_s",
    "size_bytes",
    "measurement_id",
)


@with_connection
def matrix(
    *,
    connection: Connection,
    form: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TABLE,
    study: Annotated[str, typer.Option(help="Only of this study.")] = "",
    chipset: Annotated[str, typer.Option(help="Only on this chipset.")] = "",
    model: Annotated[str, typer.Option(help="Only of the model of this name.")] = "",
) -> None:
    """Print the compatibility matrix: every variant on every chipset, as measured."""

    async def work() -> list[MatrixCell]:
        async with connected(connection) as client:
            return await client.matrix(study_id=study, chipset=chipset, model_name=model)

    cells = run(work())
    match form:
        case Format.JSON:
            write(msgspec.json.encode(cells))
        case Format.CSV:
            write(as_csv(cells).rstrip("\n").encode())
        case Format.TABLE if cells:
            from distillfarm.cli.study_results import matrix_table  # noqa: PLC0415  lazy

            output().print(matrix_table(cells))
        case Format.TABLE:
            show("nothing measured yet; start with: distillfarm study run --help")


def as_csv(cells: Sequence[MatrixCell]) -> str:
    """One line a cell; every interval as three columns, empty where nothing was measured."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    bounds = [f"{name}{end}" for name in _INTERVALS for end in ("", "_low", "_high")]
    writer.writerow([*_PLAIN, *bounds, "energy_method", "energy_gross_mj", "energy_net_mj"])
    for cell in cells:
        writer.writerow([*(_safe(getattr(cell, name)) for name in _PLAIN), *_numbers(cell.score)])
    return text.getvalue()


def _numbers(score: Score | None) -> list[object]:
    if score is None:
        return [""] * (3 * len(_INTERVALS) + 3)
    found: list[object] = []
    for name in _INTERVALS:
        interval: Interval = getattr(score, name)
        low, high = (interval.low, interval.high) if interval.bounded else ("", "")
        found += [interval.value, low, high]
    energy = score.energy
    return [*found, energy.method, _known(energy.gross_mj), _known(energy.net_mj)]


def _known(value: float | None) -> float | str:
    return "" if value is None else value


def _safe(value: object) -> object:
    """Text that a spreadsheet does not take for a formula."""
    if isinstance(value, float | int):
        return value
    text = str(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
