"""The recipe language: ``distill(width=0.5)+prune(ratio=0.2)*3+int8_static``."""

import re

from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.variant import Parameter, PassSpec, Recipe

_PASS = re.compile(r"([a-z][a-z0-9_]*)(?:\(([^()]*)\))?(?:\*([0-9]+))?")
_MAX_TIMES = 20
_SETTING = re.compile(r"([a-z][a-z0-9_]*)=([A-Za-z0-9_.\-]+)")


def parse_recipe(text: str) -> Recipe:
    """Read a recipe; ``original`` or nothing is the empty one. ``str(recipe)`` is the inverse.

    ``prune(ratio=0.2)*3`` stands for three such passes in a row, and is written out as them.

    Raises:
        InvalidRequest: text that is no recipe, or a setting named twice.
    """
    stripped = text.strip()
    if stripped in ("", "original"):
        return Recipe()
    return Recipe(tuple(each for part in stripped.split("+") for each in _parse_pass(part.strip())))


def pass_spec(name: str, **settings: object) -> PassSpec:
    """A pass with settings, in the canonical order that makes equal specs equal."""
    return PassSpec(
        name, tuple(Parameter(key, str(value)) for key, value in sorted(settings.items()))
    )


def _parse_pass(text: str) -> tuple[PassSpec, ...]:
    match = _PASS.fullmatch(text)
    if match is None:
        raise InvalidRequest(f"recipe: {text!r} is no pass; write NAME or NAME(key=value,...)")
    name, body, repeat = match.groups()
    times = int(repeat or 1)
    if not 1 <= times <= _MAX_TIMES:
        raise InvalidRequest(f"recipe: {name} {times} times; write *1 to *{_MAX_TIMES}")
    settings: dict[str, str] = {}
    for part in (body or "").split(","):
        if not part.strip():
            continue
        setting = _SETTING.fullmatch(part.strip())
        if setting is None:
            raise InvalidRequest(
                f"recipe: {part.strip()!r} in {name} is no setting; write key=value"
            )
        key, value = setting.groups()
        if key in settings:
            raise InvalidRequest(f"recipe: {key} is set twice in {name}; keep one")
        settings[key] = value
    return (pass_spec(name, **settings),) * times
