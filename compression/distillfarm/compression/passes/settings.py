"""Reads a pass' settings from text into a frozen dataclass, with bounds."""

import dataclasses
import math
from typing import Any, TypeVar

from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.variant import PassSpec

Settings = TypeVar("Settings")
_BOUNDS, _WORDS = "bounds", "words"


def number(default: float, low: float, high: float) -> Any:
    """A field that takes numbers from ``low`` to ``high``; whole ones if the default is an int."""
    return dataclasses.field(default=default, metadata={_BOUNDS: (low, high)})


def option(default: str, *others: str) -> Any:
    """A field that takes one of a few words; ``yes`` and ``no`` for switches."""
    return dataclasses.field(default=default, metadata={_WORDS: (default, *others)})


def parse(spec: PassSpec, kind: type[Settings]) -> Settings:
    """The settings of ``spec`` as a ``kind``, whose fields are made by ``number`` and ``option``.

    Raises:
        InvalidRequest: an unknown setting, no number, or one out of bounds.
    """
    fields = {each.name: each for each in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values: dict[str, float | str] = {}
    for parameter in spec.parameters:
        field = fields.get(parameter.name)
        if field is None:
            known = ", ".join(sorted(fields)) or "none"
            raise InvalidRequest(
                f"{spec.name}: unknown setting {parameter.name!r}; it takes {known}"
            )
        values[field.name] = _value(spec.name, field, parameter.value)
    return kind(**values)


def _value(name: str, field: "dataclasses.Field[Any]", text: str) -> float | str:
    if _WORDS in field.metadata:
        words = field.metadata[_WORDS]
        if text not in words:
            raise InvalidRequest(f"{name}: {field.name}={text}; use one of {', '.join(words)}")
        return text
    low, high = field.metadata[_BOUNDS]
    whole = isinstance(field.default, int)
    try:
        value = int(text) if whole else float(text)
    except ValueError as error:
        kind = "whole number" if whole else "number"
        raise InvalidRequest(f"{name}: {field.name}={text} is no {kind}") from error
    if not math.isfinite(value) or not low <= value <= high:
        raise InvalidRequest(f"{name}: {field.name}={text} is not from {low:g} to {high:g}")
    return value
