"""What the end of a program means that ended before its work was done."""

import signal

from distillfarm.agent.protocols import Exit, LaunchFailure
from distillfarm.domain.measurement import Outcome
from distillfarm.sandbox.text import one_line


def early_end(ended: Exit, timeout_s: float, stage: str) -> LaunchFailure | None:
    """The failure behind a limit or a signal; None for a program that left by itself.

    ``stage`` says what it did then, such as ``while loading the model``.
    """
    if ended.timed_out:
        return LaunchFailure(Outcome.TIMED_OUT, f"not done after {timeout_s:g} s, {stage}")
    if ended.out_of_memory:
        return LaunchFailure(Outcome.OUT_OF_MEMORY, f"needed more memory than allowed, {stage}")
    if ended.reason:
        return LaunchFailure(
            Outcome.CRASHED, f"ended {stage} for passing the limit of {ended.reason}"
        )
    if ended.code < 0:
        return LaunchFailure(
            Outcome.CRASHED, f"{_signal_name(-ended.code)} {stage}{last_words(ended)}"
        )
    return None


def last_words(ended: Exit) -> str:
    """The last line of its standard error after a colon; empty where there is none."""
    last = ended.stderr_tail.strip().rpartition("\n")[2]
    return f": {one_line(last, 200)}" if last else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
