"""What a maker's tool is to us: its command line, and the meaning of what it prints."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from distillfarm.agent.program.loop import warm_after
from distillfarm.agent.protocols import Exit, LaunchFailure, Prepared, ToolRan
from distillfarm.domain.hardware import Runtime, Target
from distillfarm.domain.job import MeasureSpec


class Tool(Protocol):
    """One tool; all of it is pure."""

    name: str
    """Of the program, as a driver launches it."""
    runtime: Runtime
    suffix: str
    """Of the files that it reads."""
    environment: Mapping[str, str]

    def arguments(self, spec: MeasureSpec, target: Target, prepared: Prepared) -> list[str]:
        """Its command line for one run.

        Raises:
            InvalidRequest: it cannot be told to run on this target.
        """

    def parse(
        self, lines: Sequence[str], ended: Exit, spec: MeasureSpec, target: Target
    ) -> ToolRan | LaunchFailure:
        """What a run means: ``lines`` of its standard output and error, and its end.

        Raises:
            MissingExtra: this build of the tool does not know what it was asked, or keeps the
                answer to itself.
        """


def settled(samples_ns: Sequence[int], most: int) -> int:
    """How many of these raw samples are warm-up, by the rule of our own ``program.loop``.

    That is ``most`` where they do not become warm before.
    """
    warm = warm_after(samples_ns[:most])
    return most if warm is None else warm


def split(samples_ns: Sequence[int], spec: MeasureSpec) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A tool's raw samples as warm-up and the rest, which is no shorter than ``iterations``."""
    most = min(spec.max_warmup, max(0, len(samples_ns) - spec.iterations))
    warm = settled(samples_ns, most)
    return tuple(samples_ns[:warm]), tuple(samples_ns[warm:])
