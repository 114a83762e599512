"""What may happen to a phone around a job, and how the job has to end for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from job_endings import Ending
from phone_station import Station

from distillfarm.agent.drivers.android import shell
from distillfarm.domain.errors import Blame
from distillfarm.domain.measurement import Outcome

_HOT_C, _EMPTY_PERCENT = 45.0, 10
# The agent gives an answer eight seconds before it wonders.
_GLITCH_S, _LONG_S = 3.0, 10.0
# Long enough to be struck in the middle.
_SAMPLING: Mapping[str, object] = {"iterations": 10**6, "max_sampling_s": 2.0, "max_warmup": 0}


class Moment(Enum):
    """When it happens: the last is while the model is measured."""

    BEFORE_JOB = "before the job"
    BEFORE_LAUNCH = "launch 1 of"
    BETWEEN_LAUNCHES = "launch 2 of"
    SAMPLING = '"first"'


@dataclass(frozen=True)
class Fault:
    """Something that happens, and how the job should end for it.

    ``strike`` does it at ``moment``, or the ``model`` does it by itself where it is None. ``mend``
    undoes it: in mid-job after ``mends_after_s``, at the job's end where that is None. ``says`` is
    in the words that the controller gets. ``floods`` is whether a program that prints without end
    runs in the place of ours.
    """

    name: str
    moment: Moment
    ending: Ending
    strike: Callable[[Station], None] | None = None
    mend: Callable[[Station], None] | None = None
    mends_after_s: float | None = None
    model: str = "cnn.onnx"
    spec: Mapping[str, object] = field(default_factory=lambda: _SAMPLING)
    says: str = ""
    floods: bool = False


def _harness() -> Ending:
    return Ending(None, Blame.HARNESS, retryable=True)


def _phone() -> Ending:
    return Ending(None, Blame.PHONE, retryable=True)


def _kill_runner(station: Station) -> None:
    device = station.lab.device(station.phone)
    shell.run(device, f"kill -9 {station.runner_pid()}")


def _fill_disk(station: Station) -> None:
    station.drop_cache()
    station.phone.fill_disk(left_bytes=1_000_000)


_OK = Ending(Outcome.OK)
_TWO: Mapping[str, object] = {
    "launches": 2,
    "iterations": 20,
    "max_sampling_s": 0.5,
    "max_warmup": 0,
}
FAULTS = (
    Fault(
        "link cut for a moment",
        Moment.SAMPLING,
        _OK,
        lambda on: on.phone.cut_link(),
        lambda on: on.phone.restore_link(),
        mends_after_s=_GLITCH_S,
    ),
    Fault(
        "link cut, comes back",
        Moment.SAMPLING,
        _OK,
        lambda on: on.phone.cut_link(),
        lambda on: on.phone.restore_link(),
        mends_after_s=_LONG_S,
    ),
    Fault(
        "link cut, stays away",
        Moment.SAMPLING,
        _harness(),
        lambda on: on.phone.cut_link(),
        lambda on: on.phone.restore_link(),
    ),
    Fault(
        "daemon frozen, thaws",
        Moment.SAMPLING,
        _OK,
        lambda on: on.phone.freeze(),
        lambda on: on.phone.thaw(),
        mends_after_s=_LONG_S,
    ),
    Fault(
        "daemon frozen for good",
        Moment.SAMPLING,
        _harness(),
        lambda on: on.phone.freeze(),
        lambda on: on.phone.thaw(),
    ),
    Fault("daemon dies", Moment.SAMPLING, _OK, lambda on: on.phone.kill_adbd()),
    Fault(
        "phone offline for a while",
        Moment.SAMPLING,
        _OK,
        lambda on: on.phone.stop_adbd(),
        lambda on: on.phone.start_adbd(),
        mends_after_s=_GLITCH_S,
    ),
    Fault(
        "adb server killed",
        Moment.SAMPLING,
        _OK,
        lambda on: on.lab.kill_server(),
        lambda on: on.lab.start_server(),
        mends_after_s=1.0,
    ),
    Fault(
        "disk full before a push",
        Moment.BEFORE_JOB,
        _phone(),
        _fill_disk,
        lambda on: on.phone.free_disk(),
        says="free space on the phone",
    ),
    Fault(
        "disk full at a launch",
        Moment.BETWEEN_LAUNCHES,
        _phone(),
        lambda on: on.phone.fill_disk(),
        lambda on: on.phone.free_disk(),
        spec=_TWO,
        says="free space on the phone",
    ),
    Fault(
        "restart in mid-launch",
        Moment.SAMPLING,
        Ending(None, Blame.MODEL, retryable=True, felled=True),
        lambda on: on.phone.reboot(),
        says="rebooted",
    ),
    Fault(
        "restart between launches",
        Moment.BETWEEN_LAUNCHES,
        _phone(),
        lambda on: on.phone.reboot(),
        spec=_TWO,
        says="rebooted",
    ),
    Fault(
        "runner crashes",
        Moment.BEFORE_LAUNCH,
        Ending(Outcome.CRASHED),
        model="crashing.tflite",
        says="SIGSEGV",
    ),
    Fault(
        "runner hangs",
        Moment.BEFORE_LAUNCH,
        Ending(Outcome.TIMED_OUT),
        model="endless.onnx",
        spec={"launch_timeout_s": 5.0},
        says="not done after 5 s",
    ),
    Fault(
        "runner floods its output",
        Moment.BEFORE_LAUNCH,
        Ending(Outcome.CRASHED),
        says="16 MiB of output",
        floods=True,
    ),
    Fault(
        "runner killed for memory",
        Moment.SAMPLING,
        Ending(Outcome.OUT_OF_MEMORY),
        _kill_runner,
        says="more memory than allowed",
    ),
    Fault(
        "too hot",
        Moment.BEFORE_JOB,
        _phone(),
        lambda on: on.phone.state.set_temperature(_HOT_C),
        says="45.0 °C, limit 38",
    ),
    Fault(
        "heats up in mid-job",
        Moment.SAMPLING,
        Ending(Outcome.OVERHEATED),
        lambda on: on.phone.state.set_temperature(_HOT_C),
        spec=_TWO,
        says="45.0 °C, limit 38",
    ),
    Fault(
        "battery empty",
        Moment.BEFORE_JOB,
        _phone(),
        lambda on: on.phone.state.set_battery(_EMPTY_PERCENT),
        says="battery at 10 %, need 20",
    ),
)
