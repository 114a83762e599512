"""Finds passes and exporters by name among the installed entry points."""

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from distillfarm.compression.protocols import Exporter, Pass
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import Runtime

PASSES = "distillfarm.passes"
EXPORTERS = "distillfarm.exporters"


def compression_pass(name: str) -> Pass:
    """The pass that is registered as ``name`` under ``distillfarm.passes``.

    Raises:
        InvalidRequest: no such pass; the text lists the known ones.
    """
    return cast("Pass", _load(PASSES, "pass", name))


def exporter(runtime: Runtime) -> Exporter:
    """The exporter for ``runtime``, registered by the runtime's name.

    Raises:
        InvalidRequest: nothing exports for that runtime; the text lists the ones that work.
    """
    return cast("Exporter", _load(EXPORTERS, "exporter for the runtime", runtime.value))


def known(group: str) -> list[str]:
    """The names registered in an entry-point group, sorted."""
    return sorted(each.name for each in entry_points(group=group))


def _load(group: str, kind: str, name: str) -> object:
    found: Iterable[EntryPoint] = entry_points(group=group, name=name)
    for entry in found:
        factory = entry.load()
        return factory()
    raise InvalidRequest(f"there is no {kind} {name!r}; use one of {', '.join(known(group))}")
