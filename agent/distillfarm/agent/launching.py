"""Makes a job's launches: rested and gated, in turn with a rival's, until there are enough."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from distillfarm.agent.gates import GatesShut, Waiting
from distillfarm.agent.protocols import (
    DeviceDriver,
    Launched,
    LaunchFailure,
    Prepared,
    Runner,
    ToolRan,
    Window,
)
from distillfarm.domain.job import JobRequest
from distillfarm.domain.measurement import Launch, Outcome, Stop, ToolRun
from distillfarm.statistics.intervals import over_launches
from distillfarm.statistics.stopping import StoppingRule

# Gates that what is measured itself may shut.
_HEAT = frozenset({"temperature", "throttling"})

Progress = Callable[[str, float], None]
"""Takes a short line for people and how much of the job is done, 0..1."""


@dataclass
class Side:
    """One artifact of a job, with what its launches gave so far."""

    runner: Runner
    request: JobRequest
    prepared: Prepared | None = None
    failure: LaunchFailure | None = None
    launches: list[Launch] = field(default_factory=list)
    tool_runs: list[ToolRun] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    quantiles_ns: list[tuple[float, float]] = field(default_factory=list)
    """Of every launch, the p50 and p90 of its samples."""

    @property
    def made(self) -> int:
        """How many launches ran to their end."""
        return len(self.launches) + len(self.tool_runs)

    @property
    def outcome(self) -> Outcome:
        """How it ended."""
        return self.failure.outcome if self.failure else Outcome.OK

    @property
    def reason(self) -> str:
        """Why it did not end well; empty where it did."""
        return self.failure.reason if self.failure else ""

    def take(self, result: Launched | ToolRan | LaunchFailure, waited_s: float) -> None:
        """Keep what a launch gave."""
        if isinstance(result, ToolRan):
            self.tool_runs.append(replace(result.run, waited_s=waited_s))
            return
        if isinstance(result, LaunchFailure):
            self.failure = result
        elif result.window is not None:
            self.windows.append(result.window)
        if result.launch is not None:
            self.launches.append(replace(result.launch, waited_s=waited_s))
            p50_ns, p90_ns = np.quantile(result.launch.samples_ns, (0.5, 0.9))
            # A clock that did not move between two looks says less than its step, never nothing.
            self.quantiles_ns.append((max(p50_ns, 1.0), max(p90_ns, 1.0)))


def in_turn(sides: Sequence[Side], round_number: int) -> Sequence[Side]:
    """Who is launched in a round: A B, then B A, so that what drifts steadily favours neither."""
    return sides if round_number % 2 == 0 else sides[::-1]


def watched(sides: Sequence[Side]) -> tuple[tuple[float, ...], ...]:
    """What the stopping rule looks at: p50 and p90, a number a launch.

    Of a comparison they are ratios, the rival's over the job's own beside it: what befalls both
    widens neither.
    """
    own = sides[0]
    if own.tool_runs:
        # Their figures are the tool's own: only their count tells when it is enough.
        return ((1.0,) * len(own.tool_runs),)
    figures = list(zip(*own.quantiles_ns, strict=True))
    for rival in sides[1:]:
        others = zip(*rival.quantiles_ns, strict=True)
        figures = [
            tuple(their / our for our, their in zip(ours, theirs, strict=True))
            for ours, theirs in zip(figures, others, strict=True)
        ]
    return tuple(figures)


class Launching:
    """The launches of one job; the sides are changed in place.

    ``rested_s`` was spent cooling down as the spec asks, besides what ``waiting`` spent at gates.
    """

    def __init__(self, sides: Sequence[Side], waiting: Waiting, report: Progress) -> None:
        self.rested_s = 0.0
        self._sides = sides
        self._waiting = waiting
        self._report = report
        self._spec = sides[0].request.spec
        self._spent_s = 0.0
        self._begun = False
        self._width = ""

    async def run(self, driver: DeviceDriver) -> Stop:
        """Launch until there are enough, or a side has failed; why it went no further.

        Raises:
            GatesShut: the device is not ready, and not by the heat of these launches.
        """
        rule, rounds = StoppingRule.of(self._spec), 0
        while True:
            for side in in_turn(self._sides, rounds):
                if side.failure is None:
                    await self._launch(driver, side)
                if side.failure is not None:
                    return Stop.COUNT
            rounds += 1
            figures = watched(self._sides)
            stop = rule.reached(figures, self._spent_s)
            if stop is not None:
                return stop
            self._width = _width(figures, self._spec.width)

    async def _launch(self, driver: DeviceDriver, side: Side) -> None:
        text, done = self._text(side), self._done()
        self._report(text, done)
        waited_s = await self._rest(text, done)
        try:
            waited_s += await self._waiting.until_open(
                driver, lambda why: self._report(f"{text}; waits for {why}", done)
            )
        except GatesShut as error:
            if not self._begun or not _HEAT & error.reasons.keys():
                raise
            # It was cool before. Which of two heats it beyond what it can get rid of is not known.
            for each in self._sides:
                each.failure = LaunchFailure(Outcome.OVERHEATED, str(error))
            return
        if side.prepared is None:
            raise AssertionError("only what was prepared is launched")
        self._begun, began_s = True, time.monotonic()
        side.take(await side.runner.launch(driver, side.request, side.prepared), waited_s)
        self._spent_s += time.monotonic() - began_s

    async def _rest(self, text: str, done: float) -> float:
        if not self._begun or self._spec.cooldown_s <= 0:
            return 0.0
        self._report(f"{text}; cools down for {self._spec.cooldown_s:g} s", done)
        began_s = time.monotonic()
        await asyncio.sleep(self._spec.cooldown_s)
        rested_s = time.monotonic() - began_s
        self.rested_s += rested_s
        return rested_s

    def _text(self, side: Side) -> str:
        most = self._spec.most_launches
        bound = f"at most {most}" if most > self._spec.launches else f"{most}"
        whose = "" if side is self._sides[0] else " of the rival"
        long = f", {self._spec.inferring_s:g} s each" if self._spec.inferring_s else ""
        return f"launch {side.made + 1} of {bound}{whose}{long}{self._width}"

    def _done(self) -> float:
        made = sum(each.made for each in self._sides)
        return made / (len(self._sides) * self._spec.most_launches)


def _width(figures: Sequence[Sequence[float]], asked: float) -> str:
    """How wide the interval is now, for people; empty where nobody asked, or nobody knows."""
    intervals = [over_launches(each) for each in figures] if asked > 0 else []
    if not intervals or not all(each.bounded for each in intervals):
        return ""
    widest = max((each.high - each.low) / each.value for each in intervals)
    return f"; interval {_percent(widest)} wide, asked for {_percent(asked)}"


def _percent(share: float) -> str:
    """Two digits, and never an exponent."""
    return f"{float(f'{100 * share:.2g}'):g} %"
