"""What the tests of the sandbox share."""

import time

import psutil
import pytest
from sandbox_tasks import AssertGone


@pytest.fixture
def assert_gone() -> AssertGone:
    """Checks that processes end within moments."""

    def check(*pids: int) -> None:
        give_up_s = time.monotonic() + 5
        alive = list(pids)
        while alive and time.monotonic() < give_up_s:
            alive = [pid for pid in alive if _lives(pid)]
            time.sleep(0.02)
        assert not alive

    return check


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
