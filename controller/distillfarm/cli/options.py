"""The options that several commands share."""

import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_ADDRESS = "127.0.0.1:7543"
DEFAULT_STATE_DIR = Path(".distillfarm")

StateDirOption = Annotated[
    Path,
    typer.Option(
        "--state-dir",
        envvar="DISTILLFARM_STATE_DIR",
        help="Folder of the embedded farm: database, files, logs, caches.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


@dataclass(frozen=True)
class Connection:
    """How to reach the controller; an empty ``address`` looks for one on this computer."""

    address: str
    token: str
    ca: Path | None
    state_dir: Path


def with_connection(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command`` the options that say how to reach the controller, as ``connection``."""
    return with_options(command, "connection", _connection_options, _connection)


def with_options(
    command: Callable[..., None],
    name: str,
    declared: Callable[..., None],
    make: Callable[..., object],
) -> Callable[..., None]:
    """``command`` with the options of ``declared`` in place of its parameter ``name``.

    Typer reads options from a signature, so this one is made: the command's own without ``name``,
    and the options, of whose values ``make`` makes the argument.
    """
    added = inspect.signature(declared).parameters

    @functools.wraps(command)
    def wrapped(**given: object) -> None:
        values = {each: given.pop(each) for each in added}
        command(**given, **{name: make(**values)})

    own = inspect.signature(command).parameters.values()
    hints = typing.get_type_hints(command, include_extras=True)
    hints |= typing.get_type_hints(declared, include_extras=True)
    parameters = [each for each in (*own, *added.values()) if each.name != name]
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {each.name: hints[each.name] for each in parameters}
    return wrapped


def _connection(*, controller: str, token: str, ca: Path | None, state_dir: Path) -> Connection:
    return Connection(controller, token, ca, state_dir)


def _connection_options(
    *,
    controller: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            envvar="DISTILLFARM_CONTROLLER",
            help=f"Without it: the farm of --state-dir; without both, {DEFAULT_ADDRESS} too.",
        ),
    ] = "",
    token: Annotated[
        str, typer.Option(envvar="DISTILLFARM_TOKEN", help="Credential for the controller.")
    ] = "",
    ca: Annotated[
        Path | None,
        typer.Option(envvar="DISTILLFARM_CA", help="Authority of the controller's certificate."),
    ] = None,
    state_dir: StateDirOption = DEFAULT_STATE_DIR,
) -> None:
    """Declares the options; never called."""
