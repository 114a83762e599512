"""The files that pass between the agent and the app on an iPhone: a job, its status, its result.

All lie below the app's ``Documents``: ``jobs/<job>/job.json``, and beside it ``status.json``, then
``result.json``, each put in place whole by a rename. One job is one launch: one process start of
the app, with ``--job <job>`` as its arguments. What the app says about it are the very events of
``runners.reports``, so that an iPhone's launches are judged like all others.

The app in ``agent/phone/ios`` has the same structs in Swift; ``tests/golden/iphone_jobs`` holds
both to the same files.
"""

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Annotated, TypeVar

import msgspec

from distillfarm.agent.program.order import Order
from distillfarm.agent.runners import reports
from distillfarm.domain.errors import DigestMismatch, InternalError, InvalidRequest, WrongState
from distillfarm.domain.hardware import Runtime
from distillfarm.domain.job import ColdStart
from distillfarm.domain.measurement import Placement

FORMAT = 2
JOB, STATUS, RESULT = "job.json", "status.json", "result.json"
LARGEST_BYTES = 256 * 2**20
"""No answer is larger: ten million samples of a second each, and room."""

JobId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")]
Nonce = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
# No part of a path begins with a dot, so none leads out of Documents.
_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
Place = Annotated[str, msgspec.Meta(pattern=rf"^{_PART}(/{_PART})*\Z", max_length=512)]
PlaceOrNone = Annotated[str, msgspec.Meta(pattern=rf"^({_PART}(/{_PART})*)?\Z", max_length=512)]
Word = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]+\Z", max_length=64)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class JobFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one launch is asked to do.

    ``model``, ``inputs`` and ``expected`` are paths below ``Documents``; the last two are empty
    for made-up inputs and for no comparison. A Core ML model is the tar of its folder.
    ``model_sha256`` is of that file. ``nonce`` is new for every launch, and comes back in every
    answer. ``cold`` cannot be ``page_cache_dropped``: iOS has no way to do that. It infers until
    ``max_sampling_s`` are over and ``least`` inferences timed, but no more than ``iterations``; at
    most ``kept`` samples come back.
    """

    format: int
    job: JobId
    nonce: Nonce
    runtime: Runtime
    delegate: Word
    model: Place
    model_sha256: Sha256
    inputs: PlaceOrNone
    expected: PlaceOrNone
    threads: Annotated[int, msgspec.Meta(ge=1, le=1024)]
    max_warmup: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
    iterations: Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000_000)]
    max_sampling_s: Annotated[float, msgspec.Meta(ge=0, le=1e9)]
    cold: ColdStart
    least: Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000_000)]
    kept: Annotated[int, msgspec.Meta(ge=2, le=10_000_000)]


class Thermal(Enum):
    """``ProcessInfo.thermalState``."""

    NOMINAL = "nominal"
    FAIR = "fair"
    SERIOUS = "serious"
    CRITICAL = "critical"


class Conditions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the phone fared at a moment, as the app was told."""

    thermal: Thermal
    low_power_mode: bool


class StatusFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a launch is: what was said until now. ``pid`` is the app's."""

    format: int
    job: JobId
    nonce: Nonce
    pid: Count
    events: tuple[reports.Event, ...]


class ResultFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that a launch has to say; its last event is how it ended.

    ``model_sha256`` is of the file that the app found; it runs no other than the job's, and
    ``events`` is empty then. ``compile_ns`` is the compiling of the model on the phone, no part of
    ``load_ns``; None where nothing had to be compiled. ``predicted`` is what ``MLComputePlan``
    expects to run where: a prediction, never evidence, and so no part of ``placements``.
    ``placements_source`` is how the runtime told those; empty where it did not. ``before`` and
    ``after`` enclose everything that was measured. ``app_version`` is the app's own.
    """

    format: int
    job: JobId
    nonce: Nonce
    model_sha256: Sha256
    app_version: str
    before: Conditions
    after: Conditions
    events: tuple[reports.Event, ...]
    compile_ns: Count | None = None
    placements_source: str = ""
    predicted: tuple[Placement, ...] = ()


Answer = TypeVar("Answer", StatusFile, ResultFile)


def job_of(order: Order, job: str, nonce: str, model_sha256: str) -> JobFile:
    """The job that asks the app for ``order``, whose paths are below ``Documents``.

    ``order.cache`` says nothing here: the app knows what it keeps of a model.

    Raises:
        InvalidRequest: a value that no app takes; the text names it.
    """
    return decode_job(
        msgspec.json.encode(
            {
                "format": FORMAT,
                "job": job,
                "nonce": nonce,
                "model_sha256": model_sha256,
                **{name: value for name, value in order._asdict().items() if name != "cache"},
            }
        )
    )


def encode(file: JobFile | StatusFile | ResultFile) -> bytes:
    """The file's bytes."""
    return msgspec.json.encode(file)


def decode_job(data: bytes) -> JobFile:
    """Read ``job.json``.

    Raises:
        InvalidRequest: it is no job of this format; the text names the field.
    """
    try:
        found = msgspec.json.decode(data, type=JobFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(
            f"{JOB}: {error}; write what agent and app of one version do"
        ) from error
    if found.format != FORMAT:
        raise InvalidRequest(
            f"{JOB}: format {found.format}, not {FORMAT}; install this agent's app"
        )
    if found.cold is ColdStart.PAGE_CACHE_DROPPED:
        raise InvalidRequest(
            f"{JOB}: cold start {found.cold.value}: iOS drops no pages for an app; "
            f"use {ColdStart.NEW_PROCESS.value} or {ColdStart.FIRST_EVER.value}"
        )
    return found


def decode_status(data: bytes, job: JobFile) -> StatusFile:
    """Read ``status.json`` as the answer to ``job``.

    Raises:
        WrongState: it answers an earlier launch.
        InternalError: it is no status; the app is none of ours, or of another version.
    """
    return _decode(STATUS, data, job, StatusFile)


def decode_result(data: bytes, job: JobFile) -> ResultFile:
    """Read ``result.json`` as the answer to ``job``.

    Raises:
        WrongState: it answers an earlier launch.
        DigestMismatch: the app found another model than was meant, and ran nothing.
        InternalError: it is no result, or not one to its end.
    """
    found = _decode(RESULT, data, job, ResultFile)
    if found.model_sha256 != job.model_sha256:
        raise DigestMismatch(
            f"{job.model} on the phone is {found.model_sha256}, not {job.model_sha256}; "
            "push it again"
        )
    if not found.events or not isinstance(found.events[-1], reports.FINAL):
        raise InternalError(f"{RESULT} of job {job.job} has no end; install this agent's app")
    return found


def lines(events: Sequence[reports.Event]) -> Iterator[str]:
    """The events as the lines that a launched program says, for ``runners.reports.follow``."""
    for each in events:
        yield msgspec.json.encode(each).decode()


def _decode(name: str, data: bytes, job: JobFile, kind: type[Answer]) -> Answer:
    told = f"{name} of job {job.job}"
    if len(data) > LARGEST_BYTES:
        raise InternalError(f"{told}: {len(data)} bytes, more than any; install this agent's app")
    try:
        found = msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InternalError(f"{told}: {error}; install this agent's app") from error
    if found.format != FORMAT:
        raise InternalError(
            f"{told}: format {found.format}, not {FORMAT}; install this agent's app"
        )
    if (found.job, found.nonce) != (job.job, job.nonce):
        raise WrongState(f"{told} answers an earlier launch; wait for its own")
    return found
