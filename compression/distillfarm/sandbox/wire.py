"""What a sandboxed task and its caller say to each other, as JSON."""

import msgspec

from distillfarm.domain.errors import FarmError, InternalError

REQUEST_FILE = "request.json"
ANSWER_FILE = "answer.json"
MAX_ANSWER_BYTES = 64 * 1024 * 1024


class Progress(msgspec.Struct):
    """One line on the task's standard output: how far it is, 0..1, and a line for people."""

    fraction: float
    text: str


class Done(msgspec.Struct, tag=True):
    """The task's result, as JSON of the result type."""

    result: msgspec.Raw


class Failed(msgspec.Struct, tag=True):
    """The error that the task raised: the qualified name of its class, and its text."""

    kind: str
    text: str


class NoMemory(msgspec.Struct, tag=True):
    """Python could not get the memory that it asked for."""


class NoDisk(msgspec.Struct, tag=True):
    """A file could not grow: the limit on its size, or a full disk."""


Answer = Done | Failed | NoMemory | NoDisk


def kind_of(error: FarmError) -> str:
    """The name under which an error's class crosses."""
    return f"{type(error).__module__}.{type(error).__qualname__}"


def revive(failed: Failed) -> FarmError:
    """The error again, in the same class if this process knows it; nothing is imported for it."""
    known = {f"{each.__module__}.{each.__qualname__}": each for each in _tree(FarmError)}
    return known.get(failed.kind, InternalError)(failed.text)


def _tree(root: type[FarmError]) -> list[type[FarmError]]:
    below = [each for child in root.__subclasses__() for each in _tree(child)]
    return [root, *below]
