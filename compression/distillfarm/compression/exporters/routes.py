"""Tries one way after another to write a file, and says what stopped each when none works."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from distillfarm.compression.exporters.causes import cause
from distillfarm.compression.protocols import ExportRefused, Workspace
from distillfarm.domain.errors import FarmError, MissingExtra, ModelRejected

_SHARE = 0.7


@dataclass(frozen=True)
class Route:
    """One way to write a file, by the name under which notes and refusals list it."""

    name: str
    write: Callable[[], None]


def first_that_works(
    routes: Sequence[Route], check: Callable[[], object], workspace: Workspace
) -> None:
    """Take the routes in turn until one's file passes ``check``; a note says which it was.

    Raises:
        ExportRefused: none did; the text lists every route with what stopped it.
    """
    failures: list[str] = []
    for index, route in enumerate(routes):
        workspace.report(_SHARE * index / len(routes), f"trying {route.name}")
        reason = _attempt(route, check)
        if not reason:
            workspace.notes.append("; ".join([f"written by {route.name}", *failures]))
            return
        failures.append(f"not by {route.name}: {reason}")
    raise ExportRefused("; ".join(failures))


def _attempt(route: Route, check: Callable[[], object]) -> str:
    """Empty if it worked, else the reason why not."""
    try:
        route.write()
    except (ExportRefused, ModelRejected) as error:
        return str(error)
    except (FarmError, MemoryError, OSError, ImportError):
        raise
    except Exception as error:  # noqa: BLE001
        # Converters raise anything on an operator that they do not know.
        return cause(error)
    try:
        check()
    except MissingExtra:
        return ""  # no runtime here that could tell: the artifact stays unverified
    except (ExportRefused, ModelRejected) as error:
        return str(error)
    return ""
