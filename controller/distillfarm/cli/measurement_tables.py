"""What one measurement says, in a terminal: numbers with their intervals, or why there are none."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from distillfarm.cli import formats
from distillfarm.cli.console import harmless, row, table
from distillfarm.cli.pictures import crowd, spark
from distillfarm.controller.fates import UNSTABLE
from distillfarm.controller.remarks import course, remarks
from distillfarm.domain.interval import Interval
from distillfarm.domain.job import Mode
from distillfarm.domain.measurement import Launch, Measurement, Series, Summary, ToolRun
from distillfarm.statistics.summary import launch_values

_MOST_COURSES = 10
_COURSE_PARTS = 40

_EMULATED = (
    "EMULATED: what an emulated device takes says nothing of a real one, so no number is shown; "
    "the raw samples are in --json"
)


def measurement_tables(
    name: str, measurement: Measurement, summary: Summary | None
) -> Iterator[RenderableType]:
    """Lines and tables on the file ``name``; ``summary`` is None where there are no numbers."""
    yield _line(f"{name} on {measurement.device_id}, {measurement.target}: {_outcome(measurement)}")
    yield _line(measurement.measurement_id, "dim")
    if measurement.reason:
        yield _line(f"reason: {measurement.reason}")
    if measurement.emulated:
        yield _line(_EMULATED, "yellow")
        yield from (Text(), _evidence(measurement.launches)) if measurement.launches else ()
    else:
        yield from _numbers(measurement, summary)
    context = table("Context", "fact", "value")
    for entry in measurement.context:
        row(context, entry.name, entry.value)
    yield from (Text(), context)
    if not measurement.emulated:
        yield _line(formats.energy_line(measurement.energy))
    if summary is not None and not summary.stable:
        yield _line(
            f"{UNSTABLE}: {summary.instability}; quiet the device, or measure more", "yellow"
        )


def _outcome(measurement: Measurement) -> str:
    return measurement.outcome.value + (" (emulated)" if measurement.emulated else "")


def _numbers(measurement: Measurement, summary: Summary | None) -> Iterator[RenderableType]:
    if measurement.launches:
        yield from (Text(), _quantities(measurement.launches, summary))
        yield from (Text(), _pictures(measurement)) if summary is not None else ()
        for fact, value in remarks(measurement, summary):
            yield _line(f"{fact}: {value}")
    for run in measurement.tool_runs[:1]:
        yield from (Text(), _told(run, len(measurement.tool_runs)))
    if measurement.series:
        yield from (Text(), _series(measurement.series))


def _told(run: ToolRun, runs: int) -> RenderableType:
    """The first run of a maker's tool; the others stand in the JSON."""
    of = f", first of {runs} runs" if runs > 1 else ""
    made = table(
        f"{run.tool} in its own words{of}; not comparable with launches", "figure", "value"
    )
    for told in run.reported:
        row(made, told.name, f"{told.value:g} {told.unit}".strip())
    placed = ", ".join(f"{each.nodes} operators on {each.unit}" for each in run.placements)
    row(made, "placement", placed or (f"all on {run.all_on}" if run.all_on else "not told"))
    row(made, "raw samples", str(len(run.samples_ns)) if run.samples_ns else "none given")
    return made


def _series(series: Sequence[Series]) -> RenderableType:
    made = table("While it ran", "quantity", "first", "last", "lowest", "highest", "over", "method")
    made.add_column("course")
    for each in series:
        values = [point.value for point in each.points]
        if not values:
            continue
        ends = (values[0], values[-1], min(values), max(values))
        row(
            made,
            each.quantity,
            *(f"{formats.number(value)} {each.unit}" for value in ends),
            f"{each.points[-1].t_s - each.points[0].t_s:.0f} s",
            each.method,
            spark(values),
        )
    return made


def _quantities(launches: Sequence[Launch], summary: Summary | None) -> RenderableType:
    iterations = sum(each.inferences or len(each.samples_ns) for each in launches)
    made = table(
        f"{len(launches)} launches, {iterations} timed inferences; [] is the 95 % interval",
        "quantity",
        "value",
    )
    if summary is not None:
        for quantity, interval in _starts(summary):
            row(made, quantity, f"{formats.with_interval(interval)} ms")
        for quantity, interval in _warm(summary):
            # A number would be taken for one whatever is said of it below.
            told = f"{formats.with_interval(interval)} ms" if summary.stable else UNSTABLE
            row(made, quantity, told, style="" if summary.stable else "yellow")
        if summary.stable:
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
    for fact, value in _facts(launches):
        row(made, fact, value)
    return made


def _evidence(launches: Sequence[Launch]) -> RenderableType:
    """What holds of the model on any device: where it ran, and whether it was right."""
    made = table(f"{len(launches)} launches", "fact", "value")
    for fact, value in _facts(launches):
        row(made, fact, value)
    return made


def _facts(launches: Sequence[Launch]) -> Iterator[tuple[str, str]]:
    first = launches[0]
    yield "kind of cold start", first.cold_start.value.replace("_", " ")
    stayed = [each.page_cache_resident for each in launches if each.page_cache_resident is not None]
    if stayed:
        yield "files still in memory at the start", f"at most {max(stayed):.0%}"
    placed = ", ".join(f"{each.nodes} operators on {each.unit}" for each in first.placements)
    yield "placement", placed or "not told"
    errors = [each.max_abs_error for each in launches if each.max_abs_error is not None]
    yield "largest error", f"{max(errors):.3g}" if errors else "not compared"


def _pictures(measurement: Measurement) -> RenderableType:
    """Where the launches lie, and for long modes how each of them went."""
    values = launch_values(measurement.launches)
    made = table("Every launch", "quantity", "from", "to")
    made.add_column("higher: more launches")
    for quantity, of in (("warm p50", values.warm_p50_ms), ("load", values.load_ms)):
        ends = (f"{formats.number(each)} ms" for each in (min(of), max(of)))
        row(made, quantity, *ends, crowd(of, min(of), max(of)))
    if measurement.spec.mode is Mode.BURST:
        return made
    return Group(made, Text(), _courses(measurement.launches))


def _courses(launches: Sequence[Launch]) -> RenderableType:
    made = table("Latency over time", "launch", "over", "lowest", "highest")
    made.add_column("course")
    for number, launch in enumerate(launches[:_MOST_COURSES], 1):
        seen = course(launch, _COURSE_PARTS)
        values = [value for _, value in seen]
        ends = (f"{formats.number(each)} ms" for each in (min(values), max(values)))
        span_s = launch.sampling_s or 2 * seen[-1][0] - seen[0][0]
        row(made, str(number), f"{span_s:.0f} s", *ends, spark(values))
    return made


def _starts(summary: Summary) -> tuple[tuple[str, Interval], ...]:
    return (
        ("cold start, launch to first output", summary.cold_ms),
        ("load and compile", summary.load_ms),
        ("first inference", summary.first_inference_ms),
    )


def _warm(summary: Summary) -> tuple[tuple[str, Interval], ...]:
    return (
        ("warm p50", summary.warm_p50_ms),
        ("warm p90", summary.warm_p90_ms),
        ("warm p99", summary.warm_p99_ms),
    )


def _line(text: str, style: str = "") -> Text:
    return Text(harmless(text), style=style)
