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
from distillfarm.agent.drivers.android.faults import PhoneFull
from distillfarm.domain.errors import DeviceOffline, InvalidRequest

# What `ulimit -f` counts in, in mksh as in dash.
_BLOCK_BYTES = 512
_OUTPUT_BYTES = 64 * 2**20
# A phone that is busy with the job itself is slow; one that is silent is found out by this.
_ANSWER_S = 6.0
_PIECE_BYTES = 2 * 2**20
_ERROR_BYTES = 16 * 1024
SWEEP_S = 30.0
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
class News:
    """A job now, and what it has written.

    ``code`` is set for ``ENDED`` only, as a shell tells it: 128 and the signal. ``output`` is the
    standard output from where it was asked for, ``more`` whether there is more than was allowed.
    ``errors`` is the end of the standard error, empty while the job runs.
    """

    state: JobState
    code: int | None = None
    output: bytes = b""
    errors: bytes = b""
    more: bool = False


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
        PhoneFull: the phone's disk is full.
        DeviceOffline, DeviceTimeout: see ``shell.run``; the job may have been started all the
            same, which ``news`` tells.
    """
    program = _PROGRAM.format(
        limit_s=f"{limit_s:.3f}", blocks=max(1, output_bytes // _BLOCK_BYTES), command=command
    )
    place, above = shlex.quote(folder), shlex.quote(str(PurePosixPath(folder).parent))
    result = shell.run(
        device,
        # On a full disk folders can be made, and empty files: a job there would lose its end.
        f"mkdir -p {above} && mkdir {place} && cd {place} && echo > pid.new && "
        f"read -r b <{readings.BOOT_FILE} && "
        f"{{ {_MARK}={place} setsid sh -c {shlex.quote(program)} "
        "</dev/null >/dev/null 2>&1 & } && "
        # Until it has left the stream's session it would be ended together with the stream.
        'while [ ! -f pid ]; do sleep 0.02; done; read -r p <pid; echo "$b $p"',
    )
    boot_id, _, pid = result.text.strip().rpartition(" ")
    if result.code != 0 or not pid.isdecimal():
        words = result.stderr.decode(errors="replace").strip()
        if faults.classify(words) is faults.DISK_FULL:
            raise PhoneFull(str(device.serial), words)
        raise InvalidRequest(f"{device.serial}: no job in {folder}: {words}; name a new folder")
    return Job(folder, readings.boot_id(boot_id) or "", int(pid))


def news(
    device: AdbDevice,
    job: Job,
    start_byte: int = 0,
    wait_s: float = 0.0,
    limit_bytes: int = _PIECE_BYTES,
) -> News:
    """How the job fares, at the latest ``wait_s`` from now and earlier when it ends.

    With at most ``limit_bytes`` of the standard output from ``start_byte`` on.

    In one round trip, and by the shell itself where it can: what starts there besides is taken
    from the measurement. Where the phone has no ``flock`` the answer comes at once.

    Raises:
        DeviceOffline, DeviceTimeout: see ``shell.run``; the job is not touched by that.
    """
    waiting = f"{{ timeout {wait_s:.2f} flock -s 9; }} 9<lock 2>/dev/null; " if wait_s else ""
    result = shell.run(
        device,
        # A phone that restarted may have nothing left of it.
        f"cd {shlex.quote(job.folder)} 2>/dev/null || {{ echo; echo gone; echo; exit; }}; "
        f"{waiting}b=; p=; c=; s=running; read -r b <{readings.BOOT_FILE}; "
        # The end is looked for after the process, for it may come between the two; what was
        # written before the end was seen is all there is.
        'read -r p 2>/dev/null <pid; kill -0 -"$p" 2>/dev/null || s=gone; '
        'read -r c 2>/dev/null <code; echo "$b"; echo $s; echo "$c"; '
        f'[ "$s$c" = running ] || tail -c {_ERROR_BYTES} err >&2 2>/dev/null; '
        f"tail -c +{start_byte + 1} out 2>/dev/null",
        _ANSWER_S + wait_s,
        limit_bytes + _ERROR_BYTES,
    )
    boot_id, presence, code, output = [*result.stdout.split(b"\n", 3), b"", b"", b"", b""][:4]
    state = _state(job, boot_id.decode(), presence.decode(), code.decode())
    if state is None:
        raise DeviceOffline(
            f"{device.serial}: no word of {job.folder}: {result.text[:80]!r}; ask again"
        )
    ended = int(code) if state is JobState.ENDED else None
    more = result.flooded or len(output) > limit_bytes
    return News(state, ended, output[:limit_bytes], result.stderr, more)


def _state(job: Job, boot_id: str, presence: str, code: str) -> JobState | None:
    if code == "timeout":
        return JobState.TIMED_OUT
    if code.isdecimal():
        return JobState.ENDED
    if presence == "running" and (not job.boot_id or boot_id == job.boot_id):
        return JobState.RUNNING
    return JobState.LOST if presence in ("running", "gone") else None


def end(device: AdbDevice, job: Job) -> None:
    """End the job and everything that it started, and remove its folder; idempotent.

    Raises:
        DeviceOffline, DeviceTimeout: see ``shell.run``; call it again.
    """
    search = f"grep -lsxzF {shlex.quote(f'{_MARK}={job.folder}')}"
    shell.run(device, _sweep(job.folder, search), SWEEP_S)


def end_all(device: AdbDevice, folder: str) -> None:
    """End every job below ``folder``, whoever started it, and remove the folder; idempotent.

    Raises:
        DeviceOffline, DeviceTimeout: see ``shell.run``; call it again.
    """
    shell.run(device, sweep_command(folder), SWEEP_S)


def sweep_command(folder: str) -> str:
    """What ``end_all`` runs, for who has more to ask for in the same round trip."""
    return _sweep(folder, f"grep -lszF {shlex.quote(f'{_MARK}={folder}/')}")


def _sweep(folder: str, search: str) -> str:
    """Ends the processes whose environment the search finds, until there are none."""
    return (
        "i=0; while [ $i -lt 50 ]; do i=$((i + 1)); "
        f"p=; for f in $({search} /proc/[0-9]*/environ); do "
        'f=${f#/proc/}; p="$p ${f%/environ}"; done; '
        '[ -n "$p" ] || break; kill -9 $p 2>/dev/null; sleep 0.02; done; '
        f"rm -rf {shlex.quote(folder)}"
    )
