"""``distillfarm compare``: which of two artifacts is faster on a device, and by how much."""

from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.text import Text

from distillfarm.cli.connection import connected, run
from distillfarm.cli.console import output, say, write
from distillfarm.cli.failures import ExitCode
from distillfarm.cli.job_progress import JobProgress
from distillfarm.cli.measuring import require_fitting, runtime_of
from distillfarm.cli.options import Connection, JsonOption, with_connection
from distillfarm.cli.spec_options import How, with_spec
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import Target, parse_target
from distillfarm.domain.ids import is_digest
from distillfarm.domain.measurement import Finding

if TYPE_CHECKING:
    from distillfarm.client.comparing import Compared

_LAUNCHES = 12
_MEASUREMENT = "measurement-"


class FailIf(Enum):
    """What a pipeline takes for a failure."""

    SLOWER = "slower"


@dataclass(frozen=True)
class _Contestant:
    """A file of this computer or the digest of an artifact, and what runs it."""

    model: Path | str
    target: Target


@with_connection
@with_spec
def compare(
    *,
    connection: Connection,
    how: How,
    first: Annotated[str, typer.Argument(metavar="A", help="A file, digest or measurement.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The same; what is told is of B.")],
    target: Annotated[
        str, typer.Option(help="RUNTIME[/DELEGATE[/UNIT]]; a file's name tells it if left out.")
    ] = "",
    target_b: Annotated[str, typer.Option(help="That of B, where it is another.")] = "",
    on: Annotated[str, typer.Option(help="Selector; any device that it means may be taken.")] = "*",
    launches: Annotated[
        int, typer.Option(min=1, help="Of each, in turn; fewer than 9 show nothing at 99 %.")
    ] = _LAUNCHES,
    fail_if: Annotated[
        FailIf | None, typer.Option(help="End with 3 where B is shown to be slower, warm.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether B is faster or slower than A on a device, by how much, with 99 % intervals.

    Files and digests are launched in turn on one device, A B B A. Two measurements are compared as
    they are, if only the artifact differs. Starts a farm on this computer for its duration where
    none runs. Exit codes: 0 compared, 3 one of the two did not end well, or --fail-if holds, 1
    anything else.
    """
    measured = [each.startswith(_MEASUREMENT) for each in (first, second)]
    if any(measured) and not all(measured):
        raise InvalidRequest("a measurement is compared with a measurement, a file with a file")
    if all(measured):
        if target or target_b:
            raise InvalidRequest("--target is for files and digests; measurements have theirs")
        compared = run(_apart(connection, first, second))
    else:
        own = _contestant(first, target)
        other = _contestant(second, target_b or target)
        asked = replace(how, spec=replace(how.spec, launches=launches))
        compared = run(_in_turn(connection, own, other, on, asked))
    if as_json:
        write(msgspec.json.encode(compared))
    else:
        from distillfarm.cli.comparison_tables import comparison_tables  # noqa: PLC0415  lazy

        for part in comparison_tables(_name(first), _name(second), compared):
            output().print(part, soft_wrap=isinstance(part, Text))
    _end(compared, fail_if)


async def _apart(connection: Connection, first_id: str, second_id: str) -> "Compared":
    async with connected(connection, start=True) as client:
        return await client.compare_measurements(first_id, second_id)


async def _in_turn(
    connection: Connection, own: _Contestant, other: _Contestant, on: str, how: How
) -> "Compared":
    async with connected(connection, start=True) as client:
        spec = await how.uploaded(client)
        with JobProgress() as progress:
            return await client.compare(
                own.model,
                other.model,
                own.target,
                on,
                spec,
                second_target=other.target,
                on_progress=progress.show,
            )


def _contestant(text: str, target: str) -> _Contestant:
    if is_digest(text):
        if not target:
            raise InvalidRequest(f"{text[:20]}...: a digest needs --target, such as onnxruntime")
        return _Contestant(text, parse_target(target))
    path = Path(text)
    found = parse_target(target or runtime_of(path).value)
    require_fitting(path, found.runtime)
    return _Contestant(path, found)


def _name(text: str) -> str:
    return text if is_digest(text) or text.startswith(_MEASUREMENT) else Path(text).name


def _end(compared: "Compared", fail_if: FailIf | None) -> None:
    from distillfarm.controller.differences import LATENCIES  # noqa: PLC0415  loads SciPy

    if not compared.comparisons:
        say("distillfarm: nothing to compare: one of the two has no numbers")
        raise typer.Exit(ExitCode.FAIL)
    slower = [
        each.metric.replace("_", " ")
        for each in compared.comparisons
        if each.metric in LATENCIES and each.finding is Finding.SLOWER
    ]
    if fail_if is FailIf.SLOWER and slower:
        say(f"distillfarm: B is slower in {' and '.join(slower)}")
        raise typer.Exit(ExitCode.FAIL)
