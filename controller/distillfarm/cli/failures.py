"""How a command ends: its exit code, and one clear line when it failed."""

import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

from typer.core import TyperGroup
from typer.exceptions import Abort, TyperException

from distillfarm.cli.console import say
from distillfarm.domain.errors import FarmError, MissingExtra


class ExitCode(IntEnum):
    """What the exit code of every command means."""

    PASS = 0
    ERROR = 1
    FAIL = 3
    """It was measured and does not hold: an SLA broken, a benchmark that did not end well."""
    INCONCLUSIVE = 4
    INTERRUPTED = 130


class OneLineErrors(TyperGroup):
    """The root of the command line: turns every exception into one line and an exit code.

    ``--debug`` is taken wherever it stands, so that it can be added to a command that failed.
    """

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command and leave the process with its exit code."""
        given = list(sys.argv[1:] if args is None else args)
        options = given[: given.index("--")] if "--" in given else given
        debug = "--debug" in options
        if debug:
            given.remove("--debug")
        try:
            code = super().main(given, prog_name, complete_var, False, windows_expand_args, **extra)
        except BrokenPipeError:
            # The reader (head, less) has seen enough; Python must not fail to flush at exit.
            sys.stdout = None
            code = ExitCode.ERROR
        except (KeyboardInterrupt, Abort):
            say("interrupted")
            code = ExitCode.INTERRUPTED
        except Exception as error:  # noqa: BLE001  the last line of defence
            if debug:
                traceback.print_exc()
            say(f"distillfarm: {explain(error)}")
            code = ExitCode.ERROR
        if not standalone_mode:
            return code
        sys.exit(code if isinstance(code, int) else ExitCode.PASS)


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Name the extra to install when a module that it brings is missing.

    Raises:
        MissingExtra: an import inside the block found no module.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("distillfarm"):
            raise
        raise MissingExtra(
            f"{error.name} is not installed; run: pip install 'distillfarm[{name}]'"
        ) from error


def explain(error: Exception) -> str:
    """One line that says what is wrong and, where it is known, what to do."""
    match error:
        case TyperException():
            return _one_line(error.format_message()) + _usage_hint(error)
        case FarmError():
            return str(error) or type(error).__name__
        case OSError() if error.filename is not None:
            return f"{error.filename}: {error.strerror}"
        case _:
            text = _one_line(str(error))
            return f"defect: {type(error).__name__}: {text}; add --debug to see where"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _usage_hint(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f" Try: {context.command_path} --help" if context is not None else ""
