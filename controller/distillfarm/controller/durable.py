"""Steps that survive a crash: each result is written down once and read back on replay."""

import time
from collections.abc import Callable
from typing import TypeVar

import msgspec
from dbos import DBOS

from distillfarm.domain import errors
from distillfarm.domain.errors import FarmError, InternalError

T = TypeVar("T")


class ControllerStopping(BaseException):
    """Unwinds a study when the controller is asked to stop.

    Not an ``Exception``, because DBOS records those as the step's outcome; of this it takes no
    note, so the study stays pending and goes on at the next start.
    """


class _Recorded(msgspec.Struct):
    seconds: float
    value: msgspec.Raw = msgspec.Raw(b"null")
    error: str = ""
    text: str = ""


def step(name: str, work: Callable[[], T], kind: object) -> tuple[T, float]:
    """Do ``work`` once in the life of a workflow; gives its result and the seconds it took.

    Args:
        name: of the step, for people who look into the workflow database.
        work: what to do; repeated from its start when the process dies in the middle.
        kind: the type of the result, which crosses as JSON.

    Raises:
        FarmError: what ``work`` raised, the same again on replay.
    """
    text: str = DBOS.run_step({"name": name}, _record, work)
    recorded = msgspec.json.decode(text, type=_Recorded)
    if recorded.error:
        raise named_error(recorded.error, recorded.text)
    value: T = msgspec.json.decode(recorded.value, type=kind)
    return value, recorded.seconds


def named_error(name: str, text: str) -> FarmError:
    """The error of ``domain.errors`` with this class name, or an InternalError for any other."""
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, FarmError):
        return kind(text)
    return InternalError(text)


def _record(work: Callable[[], object]) -> str:
    started = time.monotonic()
    try:
        value = msgspec.Raw(msgspec.json.encode(work()))
        recorded = _Recorded(time.monotonic() - started, value)
    except FarmError as error:
        recorded = _Recorded(
            time.monotonic() - started, error=type(error).__name__, text=str(error)
        )
    return msgspec.json.encode(recorded).decode()
