"""Programs under the supervisor: lines, ends, and deaths of parent and supervisor."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
import sandbox_tasks
from sandbox_tasks import AssertGone

from distillfarm.domain.errors import InternalError
from distillfarm.sandbox import Limits, supervisor
from distillfarm.sandbox.process import spawn

MIB = 1024**2
LIMITS = Limits(memory_bytes=256 * MIB, wall_s=30, disk_bytes=16 * MIB)


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


async def test_lines_come_as_they_are_printed(tmp_path: Path) -> None:
    code = "import sys,time; print('one', flush=True); time.sleep(30)"
    async with await spawn(python(code), limits=LIMITS, folder=tmp_path) as process:
        async with asyncio.timeout(5):
            assert await anext(process.lines()) == "one"
        assert psutil.pid_exists(process.pid)
    assert not psutil.pid_exists(process.pid)


async def test_exit_code_stderr_and_peak_are_told(tmp_path: Path) -> None:
    code = "import sys; x = bytearray(50_000_000); sys.stderr.write('bad'); sys.exit(3)"
    process = await spawn(python(code), limits=LIMITS, folder=tmp_path)
    end = await process.wait()
    assert (end.code, end.stderr_tail, end.out_of_memory, end.timed_out) == (3, "bad", False, False)
    assert 50_000_000 < end.peak_rss_bytes < 100 * MIB
    assert await process.wait() == end
    assert [line async for line in process.lines()] == []


async def test_launch_instant_is_right_before_the_program(tmp_path: Path) -> None:
    code = "import os,time; print(time.monotonic_ns() - int(os.environ['DISTILLFARM_LAUNCH_NS']))"
    process = await spawn(python(code), limits=LIMITS, folder=tmp_path)
    (line,) = [each async for each in process.lines()]
    await process.wait()
    assert 0 < int(line) < 2e9


async def test_program_that_does_not_exist_is_told(tmp_path: Path) -> None:
    process = await spawn(["/no/such/program"], limits=LIMITS, folder=tmp_path)
    end = await process.wait()
    assert end.code == supervisor.EXEC_FAILED
    assert "/no/such/program" in end.stderr_tail


async def test_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InternalError, match="did not start"):
        await spawn(python(""), limits=LIMITS, folder=tmp_path / "none")


async def test_sparing_environment_with_additions(tmp_path: Path) -> None:
    code = "import os; print(os.environ['MINE'], os.environ['HOME'])"
    process = await spawn(python(code), limits=LIMITS, folder=tmp_path, environment={"MINE": "yes"})
    assert [line async for line in process.lines()] == [f"yes {tmp_path}"]
    await process.wait()


async def test_cancelling_a_wait_kills_first(tmp_path: Path) -> None:
    process = await spawn(python("import time; time.sleep(60)"), limits=LIMITS, folder=tmp_path)
    waiting = asyncio.create_task(process.wait())
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not psutil.pid_exists(process.pid)


async def test_kill_is_idempotent_and_says_it_was_asked(tmp_path: Path) -> None:
    process = await spawn(python("import time; time.sleep(60)"), limits=LIMITS, folder=tmp_path)
    await process.kill()
    await process.kill()
    end = await process.wait()
    assert (end.code, end.reason, end.out_of_memory) == (-signal.SIGKILL, "asked", False)


async def test_very_long_line_is_cut(tmp_path: Path) -> None:
    code = "import sys; sys.stdout.write('x' * 6_000_000 + '\\nend\\n')"
    process = await spawn(python(code), limits=LIMITS, folder=tmp_path)
    first, last = [line async for line in process.lines()]
    assert (len(first), last) == (4 * MIB, "end")
    await process.wait()


async def test_too_many_processes_are_ended(tmp_path: Path, assert_gone: AssertGone) -> None:
    code = (
        "import os,time\n"
        "for _ in range(300):\n"
        "    if os.fork() == 0: time.sleep(60)\n"
        "time.sleep(60)"
    )
    process = await spawn(python(code), limits=Limits(2048 * MIB, 30, MIB), folder=tmp_path)
    end = await process.wait()
    assert end.reason == "processes"
    assert not [each for each in psutil.process_iter() if _runs_in(each, tmp_path)]


async def test_program_dies_with_its_supervisor(tmp_path: Path, assert_gone: AssertGone) -> None:
    process = await spawn(python("import time; time.sleep(60)"), limits=LIMITS, folder=tmp_path)
    guard = psutil.Process(process.pid).parent()
    assert guard is not None
    guard.kill()
    end = await process.wait()
    assert end.code == -signal.SIGKILL
    assert_gone(process.pid)


async def test_supervisor_asked_to_terminate_takes_the_program_along(tmp_path: Path) -> None:
    process = await spawn(python("import time; time.sleep(60)"), limits=LIMITS, folder=tmp_path)
    guard = psutil.Process(process.pid).parent()
    assert guard is not None
    guard.terminate()
    assert (await process.wait()).reason == "asked"
    assert not psutil.pid_exists(process.pid)


PARENT = """
import asyncio, sys
from pathlib import Path
from distillfarm.sandbox import Limits, tasks
from sandbox_tasks import Text
tasks.run("sandbox_tasks:family", Text("stay"), Text, limits=Limits(), folder=Path(sys.argv[1]),
          report=lambda _, text: print(text, flush=True))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_everything_dies_with_the_parent(
    tmp_path: Path, assert_gone: AssertGone, how: signal.Signals
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(sandbox_tasks.__file__).parent)},
    ) as parent:
        assert parent.stdout is not None
        pids = [int(each) for each in parent.stdout.readline().split()]
        assert len(pids) == 4
        guard = psutil.Process(pids[0]).ppid()
        assert all(psutil.pid_exists(pid) for pid in [*pids, guard])
        parent.send_signal(how)
    assert_gone(*pids, guard)


def test_parent_that_leaked_the_lifeline_to_a_fork_is_still_missed(
    tmp_path: Path, assert_gone: AssertGone
) -> None:
    """A process forked without exec holds the parent's end open; its death still counts."""
    code = (
        "import asyncio, os, sys, time\n"
        "from pathlib import Path\n"
        "from distillfarm.sandbox import Limits\n"
        "from distillfarm.sandbox.process import spawn\n"
        "async def main():\n"
        "    process = await spawn(\n"
        "        ['/bin/sleep', '60'], limits=Limits(), folder=Path(sys.argv[1]))\n"
        "    holder = os.fork()\n"
        "    if holder == 0: time.sleep(60)\n"
        "    print(process.pid, holder, flush=True)\n"
        "    await process.wait()\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        program, holder = map(int, parent.stdout.readline().split())
        parent.kill()
        try:
            assert_gone(program)
        finally:
            os.kill(holder, signal.SIGKILL)


def test_both_ways_to_list_descendants_agree() -> None:
    with subprocess.Popen(["/bin/sh", "-c", "sleep 60 & sleep 60"]) as shell:
        try:
            give_up_s = time.monotonic() + 5
            while len(supervisor.descendants(shell.pid)) < 2 and time.monotonic() < give_up_s:
                time.sleep(0.01)
            by_proc = supervisor.descendants(shell.pid)
            by_ps = supervisor._descendants_by_ps(shell.pid)
        finally:
            for pid in (*supervisor.descendants(shell.pid), shell.pid):
                os.kill(pid, signal.SIGKILL)
    assert set(by_proc) == set(by_ps)
    assert len(by_proc) == 2


def test_an_ordinary_user_is_walled_in_as_well() -> None:
    """Without root the network is left by way of a user namespace; the user stays who it is."""
    code = (
        "import asyncio, json, os, sys\n"
        "from pathlib import Path\n"
        "from distillfarm.sandbox import Limits\n"
        "from distillfarm.sandbox.process import spawn\n"
        "sys.executable = sys.argv[2]\n"
        "if os.geteuid() == 0:\n"
        "    os.setgroups([])\n"
        "    os.setresgid(65534, 65534, 65534)\n"
        "    os.setresuid(65534, 65534, 65534)\n"
        "async def main():\n"
        "    process = await spawn(\n"
        "        ['/usr/bin/id', '-u'], limits=Limits(), folder=Path(sys.argv[1]))\n"
        "    lines = [line async for line in process.lines()]\n"
        "    end = await process.wait()\n"
        "    print(json.dumps([lines, end.code, process.walls]))\n"
        "asyncio.run(main())\n"
    )
    root = os.geteuid() == 0
    # A Python that the other user may read: the one at hand may lie in root's home.
    interpreter = "/usr/bin/python3" if root else sys.executable
    with tempfile.TemporaryDirectory() as folder:
        if root:
            os.chown(folder, 65534, 65534)
        run = subprocess.run(
            [sys.executable, "-c", code, folder, interpreter],
            capture_output=True,
            text=True,
            check=True,
        )
    lines, exit_code, walls = json.loads(run.stdout)
    assert (lines, exit_code) == ([str(65534 if root else os.geteuid())], 0)
    assert ("no new privileges" in walls) == (sys.platform == "linux")


def _runs_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        return False
