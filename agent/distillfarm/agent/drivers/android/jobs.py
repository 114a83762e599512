"""A program on a phone that goes on while the link is cut, and whose end is read from a file.

It runs in a session of its own with its descriptors turned to files: adbd ends what hangs on a
stream when the stream closes, and keeps a stream open as long as anything holds it.
"""

import shlex
from dataclasses import dataclass
from enum import Enum

from adbutils import AdbDevice

from distillfarm.agent.drivers.android import readings, shell
from distillfarm.domain.errors import DeviceOffline, InvalidRequest

# What `ulimit -f` counts in, in mksh as in dash.
_BLOCK_BYTES = 512
_OUTPUT_BYTES = 64 * 2**20
# The session's leader ends everything that is left in it, itself last: nothing stays behind. The
# watch writes its word only where no end was written before.
_PROGRAM = """\
echo $$ > pid.new; mv pid.new pid
(sleep {limit_s}; [ -f code ] && exit; echo timeout > code.watch; mv code.watch code; kill -9 -$$) &
(ulimit -f {blocks}; {command}) > out 2> err
echo $? > code.own
[ -f code ] || mv code.own code
kill -9 -$$
"""


class JobState(Enum):
    """How far a job is.

    ``LOST``: it is not there any more and wrote no end, as after a restart of the phone or when
    Android killed the whole session.
    """

    RUNNING = "running"
    ENDED = "ended"
    TIMED_OUT = "timed out"
    LOST = "lost"


@dataclass(frozen=True)
class Job:
    """A job by where it lives; enough to find it again after the agent was restarted.

    ``folder`` on the phone holds ``out``, ``err``, ``code`` and ``pid``. ``boot_id`` is the run
    of the kernel in which it was started.
    """

    folder: str
    boot_id: str


@dataclass(frozen=True)
class Progress:
    """A job now; ``code`` is set for ``ENDED`` only, as a shell tells it: 128 and the signal."""

    state: JobState
    code: int | None = None


def start(
    device: AdbDevice,
    folder: str,
    command: str,
    limit_s: float,
    output_bytes: int = _OUTPUT_BYTES,
) -> Job:
    """Start ``command``, a line of shell, in the new ``folder`` on the phone; returns at once.

    After ``limit_s`` it is ended on the phone itself, with or without a link. A file that it
    writes, its output too, may have ``output_bytes``; more ends it with SIGXFSZ (153).

    Raises:
        InvalidRequest: the folder exists or cannot be made.
        DeviceOffline, DeviceTimeout: see ``shell.run``; the job may have been started all the
            same, which ``progress`` tells.
    """
    program = _PROGRAM.format(
        limit_s=f"{limit_s:.3f}", blocks=max(1, output_bytes // _BLOCK_BYTES), command=command
    )
    place = shlex.quote(folder)
    result = shell.run(
        device,
        f"mkdir {place} && cd {place} && {readings.BOOT_COMMAND} && "
        f"{{ setsid sh -c {shlex.quote(program)} </dev/null >/dev/null 2>&1 & }} && "
        # Until it has left the stream's session it would be ended together with the stream.
        "while [ ! -f pid ]; do sleep 0.02; done",
    )
    boot_id = readings.boot_id(result.text)
    if result.code != 0:
        words = result.stderr.decode(errors="replace").strip()
        raise InvalidRequest(f"{device.serial}: no job in {folder}: {words}; name a new folder")
    return Job(folder, boot_id or "")


def progress(device: AdbDevice, job: Job) -> Progress:
    """How far the job is.

    Raises:
        DeviceOffline, DeviceTimeout: see ``shell.run``; the job is not touched by that.
    """
    # The end is looked for after the process, for it may come between the two.
    result = shell.run(
        device,
        f"cd {shlex.quote(job.folder)} && {readings.BOOT_COMMAND}; p=$(cat pid 2>/dev/null); "
        'kill -0 -"$p" 2>/dev/null && echo running || echo gone; '
        "cat code 2>/dev/null",
    )
    lines = result.text.splitlines()
    boot_id, presence, code = [*lines, "", "", ""][:3]
    if code == "timeout":
        return Progress(JobState.TIMED_OUT)
    if code.isdecimal():
        return Progress(JobState.ENDED, int(code))
    if presence == "running" and (not job.boot_id or boot_id == job.boot_id):
        return Progress(JobState.RUNNING)
    if presence in ("running", "gone"):
        return Progress(JobState.LOST)
    raise DeviceOffline(
        f"{device.serial}: no word of {job.folder}: {result.text[:80]!r}; ask again"
    )


def output(
    device: AdbDevice, job: Job, start_byte: int = 0, limit_bytes: int = shell.OUTPUT_BYTES
) -> bytes:
    """The standard output from ``start_byte`` on, at most ``limit_bytes``; also while it runs.

    Raises:
        DeviceOffline, DeviceTimeout: see ``shell.run``.
    """
    return _read(device, f"tail -c +{start_byte + 1} {shlex.quote(job.folder)}/out", limit_bytes)


def errors(device: AdbDevice, job: Job, limit_bytes: int = 16 * 1024) -> bytes:
    """The end of the standard error.

    Raises:
        DeviceOffline, DeviceTimeout: see ``shell.run``.
    """
    return _read(device, f"tail -c {limit_bytes} {shlex.quote(job.folder)}/err", limit_bytes)


def end(device: AdbDevice, job: Job) -> None:
    """End the job and everything that it started, and remove its folder; idempotent.

    Raises:
        DeviceOffline, DeviceTimeout: see ``shell.run``; call it again.
    """
    place = shlex.quote(job.folder)
    # A process id means nothing in another run of the kernel.
    same = f'[ "$({readings.BOOT_COMMAND})" = {shlex.quote(job.boot_id)} ]'
    shell.run(
        device,
        f"p=$(cat {place}/pid 2>/dev/null); "
        f'[ -n "$p" ] && [ ! -f {place}/code ] && {same} && kill -9 -"$p" 2>/dev/null; '
        f"rm -rf {place}",
    )


def _read(device: AdbDevice, command: str, limit_bytes: int) -> bytes:
    return shell.run(
        device, f"{command} | head -c {limit_bytes}", limit_bytes=limit_bytes + 1
    ).stdout
