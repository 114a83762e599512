"""``distillfarm measure``: one model file on one device."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import RenderableType
from rich.progress import BarColumn, Progress, TextColumn

from distillfarm.cli import formats
from distillfarm.cli.connection import connected, run
from distillfarm.cli.console import harmless, messages, output, row, say, show, table, write
from distillfarm.cli.failures import ExitCode
from distillfarm.cli.options import Connection, JsonOption, with_connection
from distillfarm.cli.sources import existing, format_of
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import DEFAULT_DELEGATES, ComputeUnit, Runtime, Target
from distillfarm.domain.interval import Interval
from distillfarm.domain.job import ColdStart, Job, MeasureSpec
from distillfarm.domain.measurement import Launch, Measurement, Outcome, Summary, ToolRun
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
    """What ``--json`` prints; ``summary`` is null unless the outcome is ok."""

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
        _print(model.name, measurement, summary)
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


def _print(name: str, measurement: Measurement, summary: Summary | None) -> None:
    show(f"{name} on {measurement.device_id}, {measurement.target}: {measurement.outcome.value}")
    if measurement.reason:
        show(f"reason: {measurement.reason}")
    parts: list[RenderableType] = []
    if measurement.launches:
        parts.append(_quantities(measurement.launches, summary))
    parts += map(_told, measurement.tool_runs[:1])
    context = table("Context", "fact", "value")
    for entry in measurement.context:
        row(context, entry.name, entry.value)
    output().print(*parts, context, sep="\n\n")
    energy = measurement.energy
    why = f": {energy.reason}" if energy.reason else f" by {energy.method}"
    show(f"energy for one inference: {formats.energy(energy)}{why}")
    if summary is not None and not summary.stable:
        show(
            f"UNSTABLE: medians of launches differ by {summary.launch_cv:.0%}; "
            "quiet the device or use more --launches",
            "yellow",
        )


def _told(run: ToolRun) -> RenderableType:
    """The first run of a maker's tool; the others stand in the JSON."""
    made = table(f"{run.tool} in its own words; not comparable with launches", "figure", "value")
    for told in run.reported:
        row(made, told.name, f"{told.value:g} {told.unit}".strip())
    placed = ", ".join(f"{each.nodes} operators on {each.unit}" for each in run.placements)
    row(made, "placement", placed or (f"all on {run.all_on}" if run.all_on else "not told"))
    row(made, "raw samples", str(len(run.samples_ns)) if run.samples_ns else "none given")
    return made


def _quantities(launches: tuple[Launch, ...], summary: Summary | None) -> RenderableType:
    iterations = sum(len(launch.samples_ns) for launch in launches)
    made = table(
        f"{len(launches)} launches, {iterations} timed inferences; [] is the 95 % interval",
        "quantity",
        "value",
    )
    if summary is not None:
        for quantity, interval in _latencies(summary):
            row(made, quantity, f"{formats.with_interval(interval)} ms")
        row(made, "warm MAD", f"{formats.number(summary.warm_mad_ms)} ms")
        row(made, "spread of launch medians", f"{summary.launch_cv:.1%}")
    memory = launches[-1].memory
    row(made, f"{memory.peak_method} with the runtime", formats.byte_count(memory.baseline_bytes))
    row(made, f"{memory.peak_method} with the model", formats.byte_count(memory.loaded_bytes))
    if summary is not None:
        peak = formats.bytes_with_interval(summary.peak_memory_bytes)
        row(made, f"{memory.peak_method} at the end", peak)
    if memory.resident_bytes is not None:
        row(made, f"{memory.resident_method} at the end", formats.byte_count(memory.resident_bytes))
    for launch in launches[:1]:
        placed = ", ".join(f"{each.nodes} operators on {each.unit}" for each in launch.placements)
        row(made, "placement", placed or "not told")
    errors = [each.max_abs_error for each in launches if each.max_abs_error is not None]
    row(made, "largest error", f"{max(errors):.3g}" if errors else "not compared")
    return made


def _latencies(summary: Summary) -> tuple[tuple[str, Interval], ...]:
    return (
        ("cold start, launch to first output", summary.cold_ms),
        ("load and compile", summary.load_ms),
        ("first inference", summary.first_inference_ms),
        ("warm p50", summary.warm_p50_ms),
        ("warm p90", summary.warm_p90_ms),
        ("warm p99", summary.warm_p99_ms),
    )
