"""Finds passes and exporters by name among the installed entry points."""

from functools import cache
from importlib.metadata import EntryPoints, entry_points
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
    return sorted(each.name for each in _entries(group))


def _load(group: str, kind: str, name: str) -> object:
    for entry in _entries(group).select(name=name):
        factory = entry.load()
        return factory()
    raise InvalidRequest(f"there is no {kind} {name!r}; use one of {', '.join(known(group))}")


@cache
def _entries(group: str) -> EntryPoints:
    # Reading the metadata of every installed distribution takes a while, and they do not change.
    return entry_points(group=group)
