"""How to measure: the options that commands share, and the spec that they make."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distillfarm.cli.options import with_options
from distillfarm.cli.sources import existing
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.job import ColdStart, MeasureSpec, Mode

if TYPE_CHECKING:
    from distillfarm.client import Client

_DEFAULTS = MeasureSpec()
_SUSTAINED_S = 600.0


class ModeName(Enum):
    """A ``Mode`` as the command line spells it."""

    BURST = "burst"
    SUSTAINED = "sustained"
    SINGLE_STREAM = "single-stream"


@dataclass(frozen=True)
class How:
    """How to measure; the arrays are files of this computer until they are uploaded."""

    spec: MeasureSpec
    inputs: Path | None
    expected: Path | None

    async def uploaded(self, client: "Client") -> MeasureSpec:
        """The spec, once the controller has the arrays."""
        inputs, expected = [
            (await client.upload(each))[0] if each else "" for each in (self.inputs, self.expected)
        ]
        return replace(self.spec, inputs_digest=inputs, expected_digest=expected)


def with_spec(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command`` the options that say how to measure, as ``how``."""
    return with_options(command, "how", _spec_options, _how)


def _spec_options(
    *,
    iterations: Annotated[
        int, typer.Option(min=1, help="Timed inferences in each launch of the mode burst.")
    ] = _DEFAULTS.iterations,
    threads: Annotated[int, typer.Option(min=1, help="Of the runtime.")] = _DEFAULTS.threads,
    inputs: Annotated[Path | None, typer.Option(help=".npz of fixed inputs.")] = None,
    expected: Annotated[Path | None, typer.Option(help=".npz of the right outputs.")] = None,
    cold: Annotated[ColdStart, typer.Option(help="How cold each start.")] = _DEFAULTS.cold_start,
    mode: Annotated[
        ModeName,
        typer.Option(help="A rested device, one that never rests, MLPerf's single stream."),
    ] = ModeName.BURST,
    duration: Annotated[
        float,
        typer.Option(
            min=0,
            help=f"Seconds of inferring in a launch, of sustained {_SUSTAINED_S:g} unless told.",
        ),
    ] = 0.0,
    cooldown: Annotated[
        float, typer.Option(min=0, help="Seconds of rest before each launch but the first.")
    ] = 0.0,
    max_launches: Annotated[
        int, typer.Option(min=0, help="Go on to so many, until --width or --budget is reached.")
    ] = 0,
    width: Annotated[
        float,
        typer.Option(
            min=0,
            help="Enough are intervals of p50 and p90 of so much of their value: 0.05 is 5 %.",
        ),
    ] = 0.0,
    budget: Annotated[
        float, typer.Option(min=0, help="Seconds of the device after which no launch follows.")
    ] = 0.0,
) -> None:
    """Declares the options; never called."""


def _how(
    *,
    iterations: int,
    threads: int,
    inputs: Path | None,
    expected: Path | None,
    cold: ColdStart,
    mode: ModeName,
    duration: float,
    cooldown: float,
    max_launches: int,
    width: float,
    budget: float,
) -> How:
    if expected is not None and inputs is None:
        raise InvalidRequest("--expected needs --inputs: outputs of which inputs?")
    if (width or budget) and not max_launches:
        raise InvalidRequest("--width and --budget need --max-launches: at most how many?")
    if duration and mode is ModeName.BURST:
        raise InvalidRequest("--duration is for --mode sustained or single-stream")
    for each in (inputs, expected):
        if each is not None:
            existing(each, "array file")
    spec = MeasureSpec(
        iterations=iterations,
        threads=threads,
        cold_start=cold,
        mode=Mode[mode.name],
        duration_s=duration or (_SUSTAINED_S if mode is ModeName.SUSTAINED else 0.0),
        cooldown_s=cooldown,
        max_launches=max_launches,
        width=width,
        budget_s=budget,
    )
    return How(spec, inputs, expected)
