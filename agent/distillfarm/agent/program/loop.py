"""The timed loops: warm-up until stationary, then raw samples, with nothing else inside."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from distillfarm.agent.program.chance import Chance

BLOCK = 5
NEWS_BELOW = 0.98
PATIENCE = 3

Invoke = Callable[[], object]


class Settling:
    """Tells, block by block of samples, when warm-up is over.

    It is once three blocks in a row brought no median that is more than 2 % below the lowest
    before them. Two medians that agree would not do: where samples vary by 10 % those of five do
    so by chance every fifth time while latency still falls, and as often do not once it is
    constant.
    """

    def __init__(self) -> None:
        self._lowest_ns = float("inf")
        self._quiet = 0

    def over(self, block_ns: Sequence[int]) -> bool:
        """Take in the next block; whether it was the last one needed."""
        median_ns = sorted(block_ns)[len(block_ns) // 2]
        if median_ns < NEWS_BELOW * self._lowest_ns:
            self._lowest_ns, self._quiet = median_ns, 0
        else:
            self._quiet += 1
        return self._quiet >= PATIENCE


class Sampled(NamedTuple):
    """What was kept of so many inferences, in nanoseconds and in order."""

    samples_ns: list[int]
    inferences: int


def warm_up(invoke: Invoke, most: int) -> list[int]:
    """Infer in blocks of 5 until ``Settling`` says that it is enough.

    Returns:
        The samples in nanoseconds; as many as ``most`` when they never became stationary.
    """
    taken: list[int] = []
    settling = Settling()
    while len(taken) < most:
        count = min(BLOCK, most - len(taken))
        block, _ = sample(invoke, count, float("inf"))
        taken += block
        if settling.over(block):
            break
    return taken


def warm_after(samples_ns: Sequence[int]) -> int | None:
    """How many of these samples the rule of ``warm_up`` takes; None if they do not become warm."""
    settling = Settling()
    for begin in range(0, len(samples_ns) - BLOCK + 1, BLOCK):
        if settling.over(samples_ns[begin : begin + BLOCK]):
            return begin + BLOCK
    return None


def sample(
    invoke: Invoke, most: int, max_s: float, least: int = 0, kept: int | None = None
) -> Sampled:
    """Time ``invoke`` alone, ``most`` times but not beyond ``max_s`` once ``least`` are taken.

    Of more than ``kept`` (at least 2) inferences one of every stretch of 2, 4, 8 ... is kept,
    whichever chance chooses: each inference is as likely to be kept as any other however long it
    took, and what is kept lies evenly over the whole time. Choosing by the clock would favour what
    follows slow ones, and every eighth would see or miss whatever has that rhythm.

    The caller turns the garbage collector off; the list is made beforehand, so that the only
    objects that come into being are the clock's integers.
    """
    room = most if kept is None or kept >= most else kept - kept % 2
    samples = [0] * room
    chance = Chance()
    taken, stretch, chosen = 0, 1, 0
    clock = time.perf_counter_ns
    deadline_ns = clock() + max_s * 1e9
    for index in range(most):
        if taken == room:
            for pair in range(room // 2):
                samples[pair] = samples[2 * pair + chance.below(2)]
            taken, stretch = room // 2, 2 * stretch
            chosen = taken * stretch + chance.below(stretch)
        begin_ns = clock()
        invoke()
        took_ns = clock() - begin_ns
        if index == chosen:
            samples[taken] = took_ns
            taken += 1
            chosen = taken * stretch + (chance.below(stretch) if stretch > 1 else 0)
        if begin_ns > deadline_ns and index + 1 >= least:
            return Sampled(samples[:taken], index + 1)
    return Sampled(samples[:taken], most)
