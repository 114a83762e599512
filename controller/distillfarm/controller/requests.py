"""Checks what callers ask for before any of it is stored."""

import math
from collections.abc import Iterable

from distillfarm.compression import registry
from distillfarm.domain.errors import InvalidRequest, NotFound
from distillfarm.domain.hardware import Chipset, Device, DeviceInfo, DeviceStatus, Platform, matches
from distillfarm.domain.ids import is_digest
from distillfarm.domain.job import JobRequest, MeasureSpec, Mode
from distillfarm.domain.study import StudySpec
from distillfarm.wire.blobs import BlobStore

_MAX_TEXT = 1000
_MAX_TOOL = 100
_HOUR_S, _DAY_S = 3600.0, 24 * 3600.0
_LONGEST_S = 4 * _HOUR_S
_MOST_LAUNCHES, _MOST_PHONES = 1000, 100
# With MOST_RAW samples no longer than a line of a phone's may be.
_MOST_WARMUP = 100_000
# Five bytes each as long as an inference takes less than 34 s; a message has 64 MiB.
_MOST_SAMPLES = 10_000_000
# An interval of twice its value reaches down to nothing.
_WIDEST = 1.99
_NOBODY = Device(
    "",
    "",
    DeviceInfo("", Platform.HOST, "", Chipset("", ""), "", "", 0, 0),
    DeviceStatus.OFFLINE,
    0.0,
)


def check_job(request: JobRequest, blobs: BlobStore) -> None:
    """Whether a job can be run at all.

    Raises:
        InvalidRequest: a field that makes no sense.
        NotFound: a blob that was not uploaded.
    """
    check_key(request.idempotency_key)
    check_selector(request.selector)
    for side in request.sides:
        _check_spec(side.spec)
    _check_samples(request)
    if request.rival is not None and request.spec.tool:
        raise InvalidRequest(
            f"{request.spec.tool} gives figures of its own, which are never compared; "
            "leave out the rival, or the tool"
        )
    _within("priority", request.priority, -1_000_000, 1_000_000)
    check_blobs(blobs, request.digests)


def check_study(spec: StudySpec, idempotency_key: str, blobs: BlobStore) -> None:
    """Whether a study can be run at all.

    Raises:
        InvalidRequest: a field that makes no sense.
        NotFound: a blob that was not uploaded.
    """
    check_key(idempotency_key)
    check_selector(spec.selector)
    if not spec.name.strip() or len(spec.name) > _MAX_TEXT:
        raise InvalidRequest(f"study name: 1 to {_MAX_TEXT} characters")
    if not spec.targets:
        raise InvalidRequest("a study needs a target at least, for example litert")
    _within("launches", spec.launches, 1, _MOST_LAUNCHES)
    _within("final_launches", spec.final_launches, 1, _MOST_LAUNCHES)
    _within("trials_per_target", spec.budget.trials_per_target, 1, 10_000)
    _within("max_final_launches", spec.max_final_launches, spec.final_launches, _MOST_LAUNCHES)
    _within("phones", spec.phones, 1, _MOST_PHONES)
    _within("wall_s", spec.budget.wall_s, 0, math.inf)
    _within("budget launches", spec.budget.launches, 0, math.inf)
    _within("budget device_s", spec.budget.device_s, 0, math.inf)
    model, data = spec.model, spec.data
    for recipe in spec.recipes:
        for each in recipe.passes:
            registry.compression_pass(each.name).check(each)
    named = (model.artifact.digest, model.factory_digest, model.student_digest)
    check_blobs(blobs, (*named, data.digest, data.evaluator_digest))


def check_key(key: str) -> None:
    """Whether an idempotency key can name something."""
    if not key.strip() or len(key) > _MAX_TEXT:
        raise InvalidRequest(f"idempotency key: 1 to {_MAX_TEXT} characters, unique to the request")


def check_selector(selector: str) -> None:
    """Whether a selector can be read; see ``domain.hardware.matches``."""
    if len(selector) > _MAX_TEXT:
        raise InvalidRequest(f"selector: at most {_MAX_TEXT} characters")
    for term in selector.split(","):
        matches(_NOBODY, term)


def check_blobs(blobs: BlobStore, digests: Iterable[str]) -> None:
    """Whether every blob is here; empty digests name none. Blocks."""
    for digest in filter(None, digests):
        check_digest(digest)
        if not blobs.has(digest):
            raise NotFound(f"blob {digest} is not here; upload it first")


def check_digest(digest: str) -> None:
    """Whether this can name a blob."""
    if not is_digest(digest):
        raise InvalidRequest(f"{digest[:_MAX_TEXT]!r} is no digest; write sha256:HEX")


def _check_spec(spec: MeasureSpec) -> None:
    _within("launches", spec.launches, 1, _MOST_LAUNCHES)
    _within("max_warmup", spec.max_warmup, 0, _MOST_WARMUP)
    _within("iterations", spec.iterations, 1, 10_000_000)
    _within("max_sampling_s", spec.max_sampling_s, 0, _DAY_S)
    _within("threads", spec.threads, 1, 1024)
    _within("launch_timeout_s", spec.launch_timeout_s, 0.1, _DAY_S)
    _within("tolerance", spec.tolerance, 0, math.inf)
    if len(spec.tool) > _MAX_TOOL or not spec.tool.isprintable():
        raise InvalidRequest(f"tool: at most {_MAX_TOOL} printable characters")
    _check_stopping(spec)
    _check_mode(spec)


def _check_stopping(spec: MeasureSpec) -> None:
    _within("max_launches", spec.max_launches, 0, _MOST_LAUNCHES)
    _within("width", spec.width, 0, _WIDEST)
    _within("budget_s", spec.budget_s, 0, _DAY_S)
    _within("cooldown_s", spec.cooldown_s, 0, _HOUR_S)
    adaptive = spec.max_launches > spec.launches
    if adaptive and spec.tool:
        raise InvalidRequest(
            f"{spec.tool} gives figures without an interval, so no width ends its launches; "
            "leave out max_launches, or the tool"
        )
    for name, value in (("width", spec.width), ("budget_s", spec.budget_s)):
        if value and not adaptive:
            raise InvalidRequest(
                f"{name} {value:g} needs launches to choose from: max_launches is "
                f"{spec.max_launches}, make it more than launches ({spec.launches})"
            )


def _check_mode(spec: MeasureSpec) -> None:
    _within("duration_s", spec.duration_s, 0, _LONGEST_S)
    if spec.mode is Mode.BURST:
        if spec.duration_s:
            raise InvalidRequest(
                f"duration_s {spec.duration_s:g}: {Mode.BURST.value} launches last as long as "
                "iterations and max_sampling_s say; ask for another mode"
            )
        return
    if spec.tool:
        raise InvalidRequest(
            f"{spec.tool} knows no mode {spec.mode.value}; leave out the mode, or the tool"
        )
    if spec.mode is Mode.SUSTAINED and not spec.duration_s:
        raise InvalidRequest(
            f"mode {spec.mode.value}: say for how long by duration_s, such as 900 seconds"
        )


def _check_samples(request: JobRequest) -> None:
    """Whether the result fits into a message."""
    samples = sum(side.spec.most_samples for side in request.sides)
    if samples > _MOST_SAMPLES:
        raise InvalidRequest(
            f"{request.spec.most_launches} launches may give {samples} samples, limit "
            f"{_MOST_SAMPLES}; ask for fewer launches, iterations or max_warmup"
        )


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # false for NaN too
        raise InvalidRequest(f"{name} {value:g}: must be within {low:g} and {high:g}")
