"""The timed loops: warm-up until stationary, then raw samples, with nothing else inside."""

import time
from collections.abc import Callable

BLOCK = 5
STATIONARY_WITHIN = 0.02
LEAST_SAMPLES = 10

Invoke = Callable[[], object]


def warm_up(invoke: Invoke, most: int) -> list[int]:
    """Infer in blocks of 5 until the medians of two blocks in a row differ by at most 2 %.

    Returns:
        The samples in nanoseconds; as many as ``most`` when they never became stationary.
    """
    taken: list[int] = []
    before_ns = 0
    while len(taken) < most:
        block = sample(invoke, min(BLOCK, most - len(taken)), float("inf"))
        taken += block
        median_ns = sorted(block)[len(block) // 2]
        if before_ns and abs(median_ns - before_ns) <= STATIONARY_WITHIN * before_ns:
            break
        before_ns = median_ns
    return taken


def sample(invoke: Invoke, count: int, max_s: float, least: int = 0) -> list[int]:
    """Time ``invoke`` alone, ``count`` times but not beyond ``max_s`` once ``least`` are taken.

    The caller turns the garbage collector off; the list is made beforehand, so that the only
    objects that come into being are the clock's integers.

    Returns:
        Nanoseconds of the monotonic clock, raw and in order.
    """
    samples = [0] * count
    clock = time.perf_counter_ns
    deadline_ns = clock() + max_s * 1e9
    for index in range(count):
        begin_ns = clock()
        invoke()
        samples[index] = clock() - begin_ns
        if begin_ns > deadline_ns and index + 1 >= least:
            return samples[: index + 1]
    return samples
