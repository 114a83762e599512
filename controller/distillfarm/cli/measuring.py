"""``distillfarm measure``: one model file on one device."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from distillfarm.cli.connection import connected, run
from distillfarm.cli.console import harmless, messages, output, say, write
from distillfarm.cli.failures import ExitCode
from distillfarm.cli.options import Connection, JsonOption, with_connection
from distillfarm.cli.sources import existing, format_of
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import DEFAULT_DELEGATES, ComputeUnit, Runtime, Target
from distillfarm.domain.job import ColdStart, Job, MeasureSpec
from distillfarm.domain.measurement import Measurement, Outcome, Summary
from distillfarm.domain.model import ModelFormat

_FORMATS = {
    Runtime.ONNXRUNTIME: (ModelFormat.ONNX,),
    Runtime.LITERT: (ModelFormat.TFLITE,),
    Runtime.COREML: (ModelFormat.COREML,),
    Runtime.EXECUTORCH: (ModelFormat.EXECUTORCH,),
}
_DEFAULTS = MeasureSpec()


@dataclass(frozen=True)
class Measured:
    """What ``--json`` prints; ``summary`` is null where there are no numbers to compare.

    That is unless the outcome is ok, on an emulated device, and where a maker's tool measured.
    """

    measurement: Measurement
    summary: Summary | None


@with_connection
def measure(
    *,
    connection: Connection,
    model: Annotated[Path, typer.Argument(metavar="FILE", help="A .onnx or .tflite file.")],
    runtime: Annotated[Runtime, typer.Option(help="What runs it.")],
    device: Annotated[str, typer.Option(help="Selector; any that it means may be taken.")] = "*",
    delegate: Annotated[str, typer.Option(help="The runtime's back end, such as xnnpack.")] = "",
    unit: Annotated[ComputeUnit, typer.Option(help="Where on the chip.")] = ComputeUnit.CPU,
    launches: Annotated[int, typer.Option(min=1, help="Fresh processes.")] = _DEFAULTS.launches,
    iterations: Annotated[
        int, typer.Option(min=1, help="Timed inferences in each.")
    ] = _DEFAULTS.iterations,
    threads: Annotated[int, typer.Option(min=1, help="Of the runtime.")] = _DEFAULTS.threads,
    inputs: Annotated[Path | None, typer.Option(help=".npz of fixed inputs.")] = None,
    expected: Annotated[Path | None, typer.Option(help=".npz of the right outputs.")] = None,
    cold: Annotated[ColdStart, typer.Option(help="How cold each start.")] = _DEFAULTS.cold_start,
    tool: Annotated[str, typer.Option(help="A maker's tool, such as benchmark_model.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Measure a model file on a device: cold and warm latency, memory, right or wrong answers.

    Starts a farm on this computer for its duration where none runs. Exit codes: 0 measured,
    3 measured and the outcome is not ok (the reason is told), 1 anything else.
    """
    _require_fitting(model, runtime)
    if expected is not None and inputs is None:
        raise InvalidRequest("--expected needs --inputs: outputs of which inputs?")
    files = [existing(each, "array file") for each in (inputs, expected) if each is not None]
    target = Target(runtime, delegate or DEFAULT_DELEGATES[runtime], unit)

    async def work() -> tuple[Measurement, Summary | None]:
        async with connected(connection, start=True) as client:
            digests = [(await client.upload(each))[0] for each in files]
            spec = MeasureSpec(
                launches=launches,
                iterations=iterations,
                threads=threads,
                inputs_digest=digests[0] if digests else "",
                expected_digest=digests[1] if len(digests) > 1 else "",
                cold_start=cold,
                tool=tool,
            )
            with _JobProgress() as progress:
                return await client.measure(model, target, device, spec, progress.show)

    measurement, summary = run(work())
    if as_json:
        write(msgspec.json.encode(Measured(measurement, summary)))
    else:
        from distillfarm.cli.measurement_tables import measurement_tables  # noqa: PLC0415  lazy

        for part in measurement_tables(model.name, measurement, summary):
            output().print(part, soft_wrap=isinstance(part, Text))
    if measurement.outcome is not Outcome.OK:
        say(f"distillfarm: {model.name}: {measurement.outcome.value}: {measurement.reason}")
        raise typer.Exit(ExitCode.FAIL)


def _require_fitting(model: Path, runtime: Runtime) -> None:
    has = format_of(model)
    if has not in _FORMATS[runtime]:
        takes = ", ".join(each.value for each in _FORMATS[runtime])
        raise InvalidRequest(
            f"model {model}: {runtime.value} takes {takes}, this is {has.value}; "
            "a study exports it: distillfarm study run --help"
        )


class _JobProgress(Progress):
    """A job's progress: a bar on a terminal, its changes as lines elsewhere."""

    def __init__(self) -> None:
        console = messages()
        super().__init__(
            BarColumn(bar_width=24),
            TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._job = self.add_task("waiting for a device", total=1.0)
        self._line = ""

    def show(self, job: Job) -> None:
        line = harmless(job.progress or job.state.value)
        self.update(self._job, completed=job.fraction, description=line)
        if self.disable and line != self._line:
            say(line)
        self._line = line
