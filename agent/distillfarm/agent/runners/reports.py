"""What the launched program said, and what it means: a launch, a failure, or our own mistake."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from distillfarm.agent.protocols import AppRun, Exit, Launched, LaunchFailure, Window
from distillfarm.agent.runners.endings import early_end, last_words
from distillfarm.domain.errors import InternalError, InvalidRequest, MissingExtra
from distillfarm.domain.job import ColdStart, MeasureSpec
from distillfarm.domain.measurement import Launch, MemoryReading, Outcome, Placement
from distillfarm.sandbox.text import one_line


class _Event(msgspec.Struct, frozen=True, tag_field="event"):
    """One line of ``distillfarm.agent.program``."""


class RuntimeLoaded(_Event, frozen=True, tag="runtime"):
    """The runtime is imported."""

    version: str
    runtime_ns: int


class ModelLoaded(_Event, frozen=True, tag="loaded"):
    """The model is loaded and compiled."""

    load_ns: int


class FirstDone(_Event, frozen=True, tag="first"):
    """The first inference is done."""

    first_inference_ns: int


class OutputError(msgspec.Struct, frozen=True):
    """How far an output is from the reference; ``largest`` is None where it is no number."""

    name: str
    largest: float | None
    magnitude: float

    @property
    def relative(self) -> float:
        """The largest absolute error relative to the reference's largest magnitude."""
        return math.inf if self.largest is None else self.largest / (self.magnitude or 1.0)


class Finished(_Event, frozen=True, tag="finished"):
    """The launch ran to its end."""

    first_output_ns: int
    runtime_ns: int
    load_ns: int
    first_inference_ns: int
    warmup_ns: tuple[int, ...]
    samples_ns: tuple[int, ...]
    sampling_began_ns: int
    sampling_ended_ns: int
    memory: MemoryReading
    placements: tuple[Placement, ...]
    errors: tuple[OutputError, ...]
    version: str
    cold_start: ColdStart = ColdStart.NEW_PROCESS
    page_cache_resident: float | None = None
    inferences: int = 0


class RuntimeRefused(_Event, frozen=True, tag="refused"):
    """The runtime does not take the model or the target."""

    reason: str


class MemoryRefused(_Event, frozen=True, tag="out_of_memory"):
    """The runtime asked for memory in vain."""

    reason: str


class BadInputs(_Event, frozen=True, tag="bad_inputs"):
    """The fixed inputs do not belong to the model."""

    reason: str


class RuntimeMissing(_Event, frozen=True, tag="missing"):
    """The runtime is not installed."""

    reason: str


Event = (
    RuntimeLoaded
    | ModelLoaded
    | FirstDone
    | Finished
    | RuntimeRefused
    | MemoryRefused
    | BadInputs
    | RuntimeMissing
)
FINAL = (Finished, RuntimeRefused, MemoryRefused, BadInputs, RuntimeMissing)
"""What is said last, and nothing after it."""
_DECODER: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)

_STAGES: dict[type, str] = {
    RuntimeLoaded: "while loading the model",
    ModelLoaded: "in the first inference",
    FirstDone: "in the timed inferences",
    Finished: "after the last inference",
}


@dataclass(frozen=True)
class Report:
    """Everything that one process said, and how it ended.

    ``clock_offset_s`` is that of ``AppRun``.
    """

    events: tuple[Event, ...]
    exit: Exit
    clock_offset_s: float | None

    @property
    def version(self) -> str:
        """The runtime's version; empty if it was never loaded."""
        return next((each.version for each in self.events if isinstance(each, RuntimeLoaded)), "")


async def follow(run: AppRun) -> Report:
    """Read a program to its end; it is gone when this returns, is cancelled or fails."""
    events: list[Event] = []
    try:
        async for line in run.lines():
            try:
                events.append(_DECODER.decode(line))
            except msgspec.MsgspecError:
                # Native code of the model's can write anything; only whole answers count.
                continue
        return Report(tuple(events), await run.wait(), run.clock_offset_s)
    finally:
        await run.kill()


def judge(report: Report, spec: MeasureSpec) -> Launched | LaunchFailure:
    """What a report means.

    Raises:
        InvalidRequest: the fixed inputs do not belong to the model.
        MissingExtra: the runtime is not installed.
        InternalError: the program itself failed.
    """
    last = report.events[-1] if report.events else None
    match last:
        case Finished():
            return _launched(last, report.clock_offset_s, spec)
        case RuntimeRefused(reason):
            return LaunchFailure(Outcome.REFUSED, one_line(reason))
        case MemoryRefused(reason):
            return LaunchFailure(
                Outcome.OUT_OF_MEMORY, f"{_stage(report.events[:-1])}: {one_line(reason)}"
            )
        case BadInputs(reason):
            raise InvalidRequest(one_line(reason))
        case RuntimeMissing(reason):
            raise MissingExtra(
                f"{one_line(reason)}; on the agent's host: pip install 'distillfarm[agent]', "
                "or 'distillfarm[agent,coreai]' for Core AI"
            )
    return _ended_early(report, spec)


def _launched(
    finished: Finished, clock_offset_s: float | None, spec: MeasureSpec
) -> Launched | LaunchFailure:
    numbers = [each.largest for each in finished.errors]
    launch = Launch(
        cold_start=finished.cold_start,
        first_output_ns=finished.first_output_ns,
        runtime_ns=finished.runtime_ns,
        load_ns=finished.load_ns,
        first_inference_ns=finished.first_inference_ns,
        warmup_ns=finished.warmup_ns,
        samples_ns=finished.samples_ns,
        memory=finished.memory,
        placements=finished.placements,
        max_abs_error=max((each for each in numbers if each is not None), default=None)
        if None not in numbers
        else None,
        page_cache_resident=finished.page_cache_resident,
        inferences=_inferences(finished),
        sampling_s=(finished.sampling_ended_ns - finished.sampling_began_ns) / 1e9,
    )
    wrong = [each for each in finished.errors if each.relative > spec.tolerance]
    if wrong:
        return LaunchFailure(Outcome.INCORRECT, _wrong(wrong, spec.tolerance), launch)
    return Launched(launch, _window(finished, clock_offset_s))


def _window(finished: Finished, clock_offset_s: float | None) -> Window | None:
    """When the samples were taken, on the agent's clock; None where the clocks are strangers."""
    if clock_offset_s is None:
        return None
    return Window(
        finished.sampling_began_ns / 1e9 + clock_offset_s,
        finished.sampling_ended_ns / 1e9 + clock_offset_s,
        _inferences(finished),
    )


def _inferences(finished: Finished) -> int:
    """How many were timed; no launch tells of fewer than it kept."""
    return max(finished.inferences, len(finished.samples_ns))


def _wrong(errors: Sequence[OutputError], tolerance: float) -> str:
    worst = max(errors, key=lambda each: each.relative)
    if worst.largest is None:
        how = "is not finite, or not of the reference's shape"
    else:
        how = (
            f"is up to {worst.largest:.3g} off a reference of magnitude {worst.magnitude:.3g} "
            f"({worst.relative:.3g} of it, tolerance {tolerance:g})"
        )
    return f"output {one_line(worst.name, 80)!r} {how}"


def _ended_early(report: Report, spec: MeasureSpec) -> LaunchFailure:
    ended, stage = report.exit, _stage(report.events)
    early = early_end(ended, spec.timeout_s, stage)
    if early is not None:
        return early
    if not report.events or "Traceback (most recent call last)" in ended.stderr_tail:
        raise InternalError(
            f"the launch program failed with exit code {ended.code}{last_words(ended)}; "
            "is distillfarm installed for this Python?"
        )
    return LaunchFailure(
        Outcome.CRASHED, f"left with exit code {ended.code} {stage}, without an answer"
    )


def _stage(events: Sequence[Event]) -> str:
    return _STAGES[type(events[-1])] if events else "while loading the runtime"
