"""``distillfarm measure``: one model file on one device."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.text import Text

from distillfarm.cli.connection import connected, run
from distillfarm.cli.console import output, say, write
from distillfarm.cli.failures import ExitCode
from distillfarm.cli.job_progress import JobProgress
from distillfarm.cli.options import Connection, JsonOption, with_connection
from distillfarm.cli.sources import format_of
from distillfarm.cli.spec_options import How, with_spec
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import DEFAULT_DELEGATES, ComputeUnit, Runtime, Target
from distillfarm.domain.job import MeasureSpec
from distillfarm.domain.measurement import Measurement, Outcome, Summary
from distillfarm.domain.model import ModelFormat

_FORMATS = {
    Runtime.ONNXRUNTIME: (ModelFormat.ONNX,),
    Runtime.LITERT: (ModelFormat.TFLITE,),
    Runtime.COREML: (ModelFormat.COREML,),
    Runtime.EXECUTORCH: (ModelFormat.EXECUTORCH,),
    Runtime.COREAI: (ModelFormat.COREAI,),
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
@with_spec
def measure(
    *,
    connection: Connection,
    how: How,
    model: Annotated[Path, typer.Argument(metavar="FILE", help="A .onnx or .tflite file.")],
    runtime: Annotated[Runtime, typer.Option(help="What runs it.")],
    device: Annotated[str, typer.Option(help="Selector; any that it means may be taken.")] = "*",
    delegate: Annotated[str, typer.Option(help="The runtime's back end, such as xnnpack.")] = "",
    unit: Annotated[ComputeUnit, typer.Option(help="Where on the chip.")] = ComputeUnit.CPU,
    launches: Annotated[int, typer.Option(min=1, help="Fresh processes.")] = _DEFAULTS.launches,
    tool: Annotated[str, typer.Option(help="A maker's tool, such as benchmark_model.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Measure a model file on a device: cold and warm latency, memory, right or wrong answers.

    Starts a farm on this computer for its duration where none runs. Exit codes: 0 measured,
    3 measured and the outcome is not ok (the reason is told), 1 anything else.
    """
    require_fitting(model, runtime)
    target = Target(runtime, delegate or DEFAULT_DELEGATES[runtime], unit)

    async def work() -> tuple[Measurement, Summary | None]:
        async with connected(connection, start=True) as client:
            spec = replace(await how.uploaded(client), launches=launches, tool=tool)
            with JobProgress() as progress:
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


def runtime_of(model: Path) -> Runtime:
    """What runs files such as this.

    Raises:
        InvalidRequest: nothing does, or there is no such file.
    """
    has = format_of(model)
    for runtime, formats in _FORMATS.items():
        if has in formats:
            return runtime
    raise InvalidRequest(f"model {model}: nothing runs {has.value}; a study exports it")


def require_fitting(model: Path, runtime: Runtime) -> None:
    """Whether the runtime takes files such as this.

    Raises:
        InvalidRequest: it does not, or there is no such file.
    """
    has = format_of(model)
    if has not in _FORMATS[runtime]:
        takes = ", ".join(each.value for each in _FORMATS[runtime])
        raise InvalidRequest(
            f"model {model}: {runtime.value} takes {takes}, this is {has.value}; "
            "a study exports it: distillfarm study run --help"
        )
