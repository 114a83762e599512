"""The command line's entry: every command by its name; heavy imports wait for their command."""

from importlib.metadata import version
from typing import Annotated

import typer

from distillfarm.cli import (
    bundles,
    comparing,
    demonstration,
    devices,
    doctor,
    inspection,
    matrix,
    measuring,
    profiles,
    runtimes,
    servers,
    studies,
    up,
)
from distillfarm.cli.console import show
from distillfarm.cli.failures import OneLineErrors

app = typer.Typer(
    cls=OneLineErrors,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; the console script."""
    app(prog_name="distillfarm")


def _print_version(wanted: bool) -> None:
    if wanted:
        show(f"distillfarm {version('distillfarm')}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    print_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the trace of an error; allowed anywhere.")
    ] = False,
) -> None:
    """Compressed models that are best as measured on your own phones.

    Exit codes: 0 it holds, 1 error, 3 it was measured and does not hold, 4 inconclusive.
    """


app.command()(demonstration.demo)
app.command()(up.up)
app.add_typer(studies.app, name="study")
app.command()(measuring.measure)
app.command()(comparing.compare)
app.command("inspect")(inspection.inspect_model)
app.add_typer(devices.app, name="devices")
app.add_typer(profiles.app, name="profiles")
app.add_typer(runtimes.app, name="runtimes")
app.command()(matrix.matrix)
app.add_typer(bundles.app, name="bundle")
app.command()(doctor.doctor)
app.command()(servers.controller)
app.command()(servers.agent)
app.command()(servers.worker)
