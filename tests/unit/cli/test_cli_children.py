import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from distillfarm.cli import children
from distillfarm.cli.children import Child
from distillfarm.cli.embedded import Plan, embedded_farm, require_free
from distillfarm.domain.errors import InvalidRequest, Unavailable, WrongState

COUNT_AND_END = (
    "from pathlib import Path; p = Path('{}'); p.open('a').write('x'); raise SystemExit(7)"
)
HOLD_ON = (
    "import time; from distillfarm.cli import lifeline; lifeline.hold_on(); "
    "print('ready', flush=True); {}time.sleep(60)"
)
PARENT = """
import asyncio, os, sys
from pathlib import Path
from distillfarm.cli.children import Child
async def main():
    read, write = os.pipe()
    child = Child("child", lambda: (sys.executable, "-c", sys.argv[2]), Path(sys.argv[1]), (read,))
    await child.keep()
asyncio.run(main())
"""


@pytest.fixture
def lifeline() -> Iterator[int]:
    read, write = os.pipe()
    yield read
    os.close(read)
    os.close(write)


def child_of(tmp_path: Path, lifeline: int, code: str) -> Child:
    return Child("part", lambda: (sys.executable, "-c", code), tmp_path, (lifeline,))


async def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0.05)
    pytest.fail("it did not come to pass within 10 s")


async def test_a_child_that_ends_before_it_settled_is_an_error_with_its_last_line(
    tmp_path: Path, lifeline: int
) -> None:
    child = child_of(tmp_path, lifeline, "import sys; sys.exit('first\\nport 1 is taken')")
    with pytest.raises(Unavailable, match=r"part ended .* code 1: port 1 is taken .*part\.log"):
        await child.keep()


async def test_a_settled_child_is_started_again_with_growing_pauses(
    tmp_path: Path,
    lifeline: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(children, "_FIRST_PAUSE_S", 0.05)
    starts = tmp_path / "starts"
    child = child_of(tmp_path, lifeline, COUNT_AND_END.format(starts))
    child.settled = True
    task = asyncio.create_task(child.keep())
    await wait_until(lambda: starts.exists() and len(starts.read_text()) >= 3)
    task.cancel()
    await asyncio.wait([task])
    assert "part ended with code 7; starting it again" in capsys.readouterr().err


async def test_cancelling_ends_the_child_and_its_group_even_if_it_resists(
    tmp_path: Path, lifeline: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "_STOP_WITHIN_S", 0.5)
    code = (
        "import os, signal, subprocess, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "p = subprocess.Popen(['sleep', '60']); print(os.getpid(), p.pid, flush=True); "
        "time.sleep(60)"
    )
    child = child_of(tmp_path, lifeline, code)
    task = asyncio.create_task(child.keep())
    await wait_until(lambda: child.log.exists() and child.log.read_text().count(" ") == 1)
    pids = [int(each) for each in child.log.read_text().split()]
    task.cancel()
    await asyncio.wait([task])
    await wait_until(lambda: not any(alive(pid) for pid in pids))


@pytest.mark.parametrize("resists", ["", "import signal; signal.signal(15, signal.SIG_IGN); "])
def test_kill_9_of_the_parent_ends_the_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resists: str
) -> None:
    patience = "lifeline._GRACE_S = 0.5; " if resists else ""
    code = HOLD_ON.format(resists + patience)
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), code])
    log = tmp_path / "child.log"
    deadline_s = time.monotonic() + 10
    while not (log.exists() and "ready" in log.read_text()):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    (child,) = psutil.Process(parent.pid).children()
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    deadline_s = time.monotonic() + 10
    while alive(child.pid):
        assert time.monotonic() < deadline_s, "the child outlived its parent"
        time.sleep(0.05)


async def test_a_long_log_is_set_aside(
    tmp_path: Path, lifeline: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "_LOG_LIMIT_BYTES", 10)
    (tmp_path / "part.log").write_text("old" * 10)
    child = child_of(tmp_path, lifeline, "print('new'); raise SystemExit(1)")
    with pytest.raises(Unavailable):
        await child.keep()
    assert (tmp_path / "part.log").read_text() == "new\n"
    assert (tmp_path / "part.log.1").read_text() == "old" * 10


def test_a_taken_port_is_told_with_the_remedy() -> None:
    import socket  # noqa: PLC0415

    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(WrongState, match=f"{address}: Address already in use.*--listen"):
            require_free(address)
    require_free(address)
    require_free("127.0.0.1:0")


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1:99999", "a b:1"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(InvalidRequest, match="HOST:PORT"):
        require_free(address)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_an_embedded_farm_never_drops_a_guard_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISTILLFARM_CONTROLLER_ENROLMENT_TOKEN", "secret")
    with pytest.raises(InvalidRequest, match="ENROLMENT_TOKEN is set") as raised:
        async with embedded_farm(Plan(tmp_path / "state")):
            pytest.fail("it ran")
    assert "secret" not in str(raised.value)
    assert not (tmp_path / "state").exists()
