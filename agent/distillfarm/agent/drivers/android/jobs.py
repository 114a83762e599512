"""A program on a phone that goes on while the link is cut, and whose end is read from a file.

It runs in a session of its own with its descriptors turned to files: adbd ends what hangs on a
stream when the stream closes, and keeps a stream open as long as anything holds it.
"""

import shlex
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath

from adbutils import AdbDevice

from distillfarm.agent.drivers.android import faults, readings, shell
from distillfarm.domain.errors import DeviceOffline, InvalidRequest, NoCapacity

# What `ulimit -f` counts in, in mksh as in dash.
_BLOCK_BYTES = 512
_OUTPUT_BYTES = 64 * 2**20
_ANSWER_S = 10.0
# Every process of a job carries this variable with the job's folder: so those are found, too, that
# left the session, and those of an agent that died.
_MARK = "DISTILLFARM_JOB"
# The session's leader ends everything that is left in it, itself last: nothing stays behind. The
# watch writes its word only where no end was written before. The lock is the leader's alone, and
# goes when it goes: who waits for it needs no processor time beside the measurement.
_PROGRAM = """\
{{ flock 9
echo $$ > pid.new; mv pid.new pid
(sleep {limit_s}; [ -f code ] && exit; echo timeout > code.watch; mv code.watch code; \
kill -9 -$$) 9>&- &
(ulimit -f {blocks}; {command}) > out 2> err 9>&-
echo $? > code.own
[ -f code ] || mv code.own code
kill -9 -$$
}} 9> lock
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
    of the kernel in which it was started, ``pid`` the session's leader there.
    """

    folder: str
    boot_id: str
    pid: int


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

    Folders above it are made.

    After ``limit_s`` it is ended on the phone itself, with or without a link. A file that it
    writes, its output too, may have ``output_bytes``; more ends it with SIGXFSZ (153).

    Raises:
        InvalidRequest: the folder exists or cannot be made.
        NoCapacity: the phone's disk is full.
        DeviceOffline, DeviceTimeout: see ``shell.run``; the job may have been started all the
            same, which ``progress`` tells.
    """
    program = _PROGRAM.format(
        limit_s=f"{limit_s:.3f}", blocks=max(1, output_bytes // _BLOCK_BYTES), command=command
    )
    place, above = shlex.quote(folder), shlex.quote(str(PurePosixPath(folder).parent))
    result = shell.run(
        device,
        # On a full disk folders can be made, and empty files: a job there would lose its end.
        f"mkdir -p {above} && mkdir {place} && cd {place} && echo > pid.new && "
        f"{readings.BOOT_COMMAND} && "
        f"{{ {_MARK}={place} setsid sh -c {shlex.quote(program)} "
        "</dev/null >/dev/null 2>&1 & } && "
        # Until it has left the stream's session it would be ended together with the stream.
        "while [ ! -f pid ]; do sleep 0.02; done; cat pid",
    )
    boot_id, _, pid = result.text.strip().rpartition("\n")
    if result.code != 0 or not pid.isdecimal():
        words = result.stderr.decode(errors="replace").strip()
        if faults.classify(words) is faults.DISK_FULL:
            raise NoCapacity(f"{device.serial}: {words}; {faults.DISK_FULL.remedy}")
        raise InvalidRequest(f"{device.serial}: no job in {folder}: {words}; name a new folder")
    return Job(folder, readings.boot_id(boot_id) or "", int(pid))


def progress(device: AdbDevice, job: Job, wait_s: float = 0.0) -> Progress:
    """How far the job is, at the latest ``wait_s`` from now and earlier when it ends.

    Where the phone has no ``flock`` the answer comes at once.

    Raises:
        DeviceOffline, DeviceTimeout: see ``shell.run``; the job is not touched by that.
    """
    waiting = f"{{ timeout {wait_s:.2f} flock -s 9; }} 9<lock 2>/dev/null; " if wait_s else ""
    # The end is looked for after the process, for it may come between the two.
    result = shell.run(
        device,
        # A phone that restarted may have nothing left of it.
        f"cd {shlex.quote(job.folder)} 2>/dev/null || {{ echo; echo gone; exit; }}; "
        f"{waiting}{readings.BOOT_COMMAND}; "
        'p=$(cat pid 2>/dev/null); kill -0 -"$p" 2>/dev/null && echo running || echo gone; '
        "cat code 2>/dev/null",
        _ANSWER_S + wait_s,
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
    _sweep(device, job.folder, f"grep -lsxzF {shlex.quote(f'{_MARK}={job.folder}')}")


def end_all(device: AdbDevice, folder: str) -> None:
    """End every job below ``folder``, whoever started it, and remove the folder; idempotent.

    Raises:
        DeviceOffline, DeviceTimeout: see ``shell.run``; call it again.
    """
    _sweep(device, folder, f"grep -lszF {shlex.quote(f'{_MARK}={folder}/')}")


def _sweep(device: AdbDevice, folder: str, search: str) -> None:
    """End the processes whose environment the search finds, until there are none."""
    shell.run(
        device,
        "i=0; while [ $i -lt 50 ]; do i=$((i + 1)); "
        f"p=; for f in $({search} /proc/[0-9]*/environ); do "
        'f=${f#/proc/}; p="$p ${f%/environ}"; done; '
        '[ -n "$p" ] || break; kill -9 $p 2>/dev/null; sleep 0.02; done; '
        f"rm -rf {shlex.quote(folder)}",
        timeout_s=30.0,
    )


def _read(device: AdbDevice, command: str, limit_bytes: int) -> bytes:
    return shell.run(
        device, f"{command} | head -c {limit_bytes}", limit_bytes=limit_bytes + 1
    ).stdout
