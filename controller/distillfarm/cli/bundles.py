"""``distillfarm bundle``: is a bundle what its signer signed?"""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from distillfarm.cli.console import say, show, write
from distillfarm.cli.failures import ExitCode, extra
from distillfarm.cli.options import JsonOption

app = typer.Typer(no_args_is_help=True, help="Check what a study delivered.")


@app.callback()
def _bundle() -> None:
    """Check what a study delivered."""


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The unpacked bundle.")],
    *,
    public_key: Annotated[
        Path | None, typer.Option(help="The key that must have signed it; else the bundle's own.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare every file with the checksums, and those with the signature.

    Exit codes: 0 it is whole, 3 it is not, 1 it is no bundle.
    """
    with extra("controller"):
        from distillfarm.controller import bundle  # noqa: PLC0415  lazy
    check = bundle.verify(folder, public_key)
    if as_json:
        write(msgspec.json.encode(check))
    elif check.ok:
        show(f"{folder}: whole, signed by {check.signer}", "green")
        if not check.trusted:
            show("the key came with the bundle; name yours with --public-key to know who signed")
    else:
        for problem in check.problems:
            show(problem, "red")
    if not check.ok:
        say(f"distillfarm: {folder}: {len(check.problems)} problems; do not use this bundle")
        raise typer.Exit(ExitCode.FAIL)
