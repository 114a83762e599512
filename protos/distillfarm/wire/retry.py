"""Trying again what can succeed the next time, with growing pauses."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from distillfarm.domain.errors import FarmError

T = TypeVar("T")

_FIRST_S = 0.1
_LONGEST_S = 5.0


def pauses(patience_s: float) -> Iterator[float]:
    """Pauses that double up to 5 s, each shortened by chance, of ``patience_s`` in sum."""
    left_s, pause_s = patience_s, _FIRST_S
    while left_s > 0:
        # By chance, so that a thousand clients of one restarted controller do not come at once.
        pause = min(left_s, pause_s * random.uniform(0.5, 1.0))  # noqa: S311
        yield pause
        left_s -= pause
        pause_s = min(_LONGEST_S, 2 * pause_s)


async def retrying(attempt: Callable[[], Awaitable[T]], patience_s: float = 3.0) -> T:
    """The result of ``attempt``, repeated after retryable errors; it must be safe to repeat.

    Raises:
        FarmError: one that is not retryable, or the last after pauses of ``patience_s`` in sum.
    """
    for pause in pauses(patience_s):
        try:
            return await attempt()
        except FarmError as error:
            if not error.retryable:
                raise
        await asyncio.sleep(pause)
    return await attempt()


def retrying_blocking(attempt: Callable[[], T], patience_s: float = 3.0) -> T:
    """Like ``retrying``, for threads."""
    for pause in pauses(patience_s):
        try:
            return attempt()
        except FarmError as error:
            if not error.retryable:
                raise
        time.sleep(pause)
    return attempt()
