"""``distillfarm study``: run, list, show, watch and cancel studies."""

import os
import re
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from distillfarm.cli import formats, study_logs, study_run
from distillfarm.cli.connection import connected, run
from distillfarm.cli.console import output, row, say, show, table, write
from distillfarm.cli.failures import ExitCode, extra
from distillfarm.cli.options import Connection, JsonOption, with_connection
from distillfarm.cli.sources import existing, format_of, parse_function
from distillfarm.cli.study_logs import Log
from distillfarm.cli.study_progress import StudyProgress
from distillfarm.cli.study_run import Finished, StudyRequest
from distillfarm.cli.tenancy import running_farm
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.recipe import parse_recipe
from distillfarm.domain.sla import parse_sla
from distillfarm.domain.study import Budget, Metric, Study

app = typer.Typer(no_args_is_help=True, help="Search the best variant per chipset, as measured.")

_StudyId = Annotated[str, typer.Argument(metavar="ID")]
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


@app.command("run")
@with_connection
def run_study(
    *,
    connection: Connection,
    model: Annotated[Path, typer.Option(help="ONNX, .pt2, state dict, Keras, SavedModel, TFLite.")],
    data: Annotated[Path, typer.Option(help=".npz: arrays named like the inputs, label, group...")],
    sla: Annotated[
        str, typer.Option(help="Such as 'accuracy_drop<=2pt, warm_p90<=10ms, peak_memory<=100MB'.")
    ],
    target: Annotated[
        list[str], typer.Option(help="Such as litert or onnxruntime/xnnpack/cpu; repeatable.")
    ],
    factory: Annotated[
        str, typer.Option(help="file.py:function that builds the module of a state dict.")
    ] = "",
    recipe: Annotated[
        list[str],
        typer.Option(
            metavar="TEXT",
            help="Try just this, such as 'prune(ratio=0.2)*3+int8_static'; repeatable.",
        ),
    ] = [],  # noqa: B006 - typer copies it
    student: Annotated[
        str, typer.Option(metavar="FILE:FUNCTION", help="Builds the student that distill trains.")
    ] = "",
    evaluator: Annotated[
        str, typer.Option(help="file.py:function of (outputs, targets), larger is better.")
    ] = "",
    devices: Annotated[str, typer.Option(help="Selector of the devices to measure on.")] = "*",
    trials: Annotated[
        int, typer.Option(min=1, help="Candidates for each target; with --recipe all are tried.")
    ] = 8,
    objective: Annotated[
        Metric, typer.Option(help="What is made as small as the SLA allows.")
    ] = Metric.WARM_P90,
    phones: Annotated[
        int, typer.Option(min=1, help="Devices of a chipset that judge its winner, if there are.")
    ] = 2,
    time_limit: Annotated[str, typer.Option(help="Of the search: such as 90s, 30m, 2h.")] = "1h",
    launches: Annotated[
        int, typer.Option(min=0, help="On each chipset, to race and to verify; 0: no limit.")
    ] = 0,
    device_time: Annotated[str, typer.Option(help="Of each chipset's devices, such as 30m.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Repeats proposals, training, split.")] = 0,
    name: Annotated[str, typer.Option(help="Default: the model's file name.")] = "",
    out: Annotated[Path | None, typer.Option(help="Bundle's folder; default out/NAME.")] = None,
    again: Annotated[bool, typer.Option(help="Run anew although it was run before.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Find the best variant for every chipset under an SLA, and fetch its signed bundle.

    The same command again goes on with the same study. Exit codes: 0 the SLA holds on every
    chipset, 3 it fails on one, 4 it is inconclusive on one, 1 anything else.
    """
    request = StudyRequest(
        name=name or model.stem,
        model=model,
        factory=parse_function(factory, "factory") if factory else None,
        student=parse_function(student, "student") if student else None,
        data=existing(data, "data"),
        evaluator=parse_function(evaluator, "evaluator") if evaluator else None,
        sla=parse_sla(sla),
        targets=tuple(dict.fromkeys(parse_target(each) for each in target)),
        selector=devices,
        budget=Budget(
            trials,
            parse_duration(time_limit),
            launches,
            parse_duration(device_time) if device_time else 0.0,
        ),
        seed=seed,
        again=again,
        recipes=tuple(dict.fromkeys(map(parse_recipe, recipe))),
        objective=objective,
        phones=phones,
    )
    if format_of(model) is ModelFormat.TORCH_STATE and request.factory is None:
        raise InvalidRequest(f"model {model}: a state dict needs --factory file.py:function")
    finish(connection, request, out or Path("out") / request.name, as_json=as_json)


def finish(connection: Connection, request: StudyRequest, out: Path, *, as_json: bool) -> None:
    """Run ``request`` to its end, print what came out, and leave with the verdict's exit code.

    Raises:
        typer.Exit: always.
    """
    study_run.require_replaceable(out)
    with extra("controller"):
        import distillfarm.controller.bundle  # noqa: F401, PLC0415  before hours of work
    hints: list[str] = []

    async def work() -> tuple[Finished, str]:
        async with connected(connection, start=True, worker=True) as client:
            study = await study_run.submit(client, request)
            hints.append(_interrupted_hint(connection, study.study_id))
            say(f"{study.study_id} is {study.state.value}")
            with StudyProgress() as progress:
                study = await study_run.follow(client, study.study_id, progress.show)
            finished = await study_run.results(client, study)
            signer = await study_run.fetch_bundle(client, study, out) if study.bundle else ""
            return finished, signer

    try:
        finished, signer = run(work())
    except KeyboardInterrupt:
        for hint in hints:
            say(hint)
        raise
    _print_finished(finished, as_json)
    if signer:
        say(f"bundle in {out}, signed by {signer}; report: {out / 'report.html'}")
    _leave(finished)


@app.command("list")
@with_connection
def list_studies(*, connection: Connection, as_json: JsonOption = False) -> None:
    """List studies, the newest first."""

    async def work() -> list[Study]:
        async with connected(connection) as client:
            return await client.studies()

    studies = run(work())
    if as_json:
        write(msgspec.json.encode(studies))
        return
    if not studies:
        show("no studies yet; start one: distillfarm study run --help")
        return
    made = table("", "id", "name", "state", "created", "verdicts", "error")
    for study in studies:
        verdicts = (f"{each.chipset}: {each.verdict.verdict.value}" for each in study.choices)
        created = formats.moment(study.created_at_s)
        state = study.state.value
        row(made, study.study_id, study.spec.name, state, created, ", ".join(verdicts), study.error)
    output().print(made)


@app.command("show")
@with_connection
def show_study(*, connection: Connection, study_id: _StudyId, as_json: JsonOption = False) -> None:
    """Show what came out of a study so far."""

    async def work() -> Finished:
        async with connected(connection) as client:
            return await study_run.results(client, await client.study(study_id))

    _print_finished(run(work()), as_json)


@app.command()
@with_connection
def watch(
    *,
    connection: Connection,
    study_id: _StudyId,
    out: Annotated[Path | None, typer.Option(help="Put the bundle there at the end.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Follow a study to its end; leaves with its verdict's exit code like ``study run``."""

    async def work() -> Finished:
        async with connected(connection) as client:
            with StudyProgress() as progress:
                study = await study_run.follow(client, study_id, progress.show)
            if out is not None:
                with extra("controller"):
                    signer = await study_run.fetch_bundle(client, study, out)
                say(f"bundle in {out}, signed by {signer}")
            return await study_run.results(client, study)

    finished = run(work())
    _print_finished(finished, as_json)
    _leave(finished)


@app.command()
@with_connection
def log(
    *,
    connection: Connection,
    study_id: _StudyId,
    recipe: Annotated[
        str, typer.Option(metavar="TEXT", help="Only of this recipe, such as 'qat+int8_static'.")
    ] = "",
) -> None:
    """Print what the passes of a study logged: progress, warnings, learning curves, refusals."""
    wanted = parse_recipe(recipe) if recipe else None

    async def work() -> list[Log]:
        async with connected(connection) as client:
            return await study_logs.fetch(client, study_id, wanted)

    for each in run(work()):
        show(each.title, "bold")
        for line in each.lines:
            show(line)


@app.command()
@with_connection
def cancel(*, connection: Connection, study_id: _StudyId, as_json: JsonOption = False) -> None:
    """End a study; what it measured stays."""

    async def work() -> Study:
        async with connected(connection) as client:
            return await client.cancel_study(study_id)

    study = run(work())
    if as_json:
        write(msgspec.json.encode(study))
    else:
        show(f"{study.study_id} is {study.state.value}")


def parse_duration(text: str) -> float:
    """Seconds of ``90``, ``90s``, ``30m`` or ``2h``.

    Raises:
        InvalidRequest: anything else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if match is None or float(match[1]) == 0:
        raise InvalidRequest(f"duration {text!r}: write for example 90s, 30m or 2h")
    return float(match[1]) * _SECONDS[match[2]]


def _interrupted_hint(connection: Connection, study_id: str) -> str:
    farm = running_farm(connection.state_dir)
    if farm is not None and farm.pid == os.getpid():
        return (
            f"{study_id} rests, since its farm ended with this command; it goes on with: "
            f"distillfarm up --state-dir {connection.state_dir}"
        )
    return (
        f"{study_id} goes on; watch it: distillfarm study watch {study_id}; "
        f"end it: distillfarm study cancel {study_id}"
    )


def _leave(finished: Finished) -> None:
    if finished.exit_code is ExitCode.ERROR:
        study = finished.study
        why = study.error or "nothing was chosen"
        say(f"distillfarm: {study.study_id} ({study.state.value}): {why}")
    raise typer.Exit(finished.exit_code)


def _print_finished(finished: Finished, as_json: bool) -> None:
    if as_json:
        write(msgspec.json.encode(finished))
        return
    study = finished.study
    show(f"{study.study_id} ({study.spec.name}) is {study.state.value}")
    if study.error:
        show(f"error: {study.error}", "red")
    if finished.trials:
        with extra("controller"):
            from distillfarm.cli.study_results import study_tables  # noqa: PLC0415
        output().print(study_tables(study, finished.trials, finished.cells))
