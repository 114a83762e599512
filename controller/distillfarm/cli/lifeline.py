"""Ties a child process to its parent: however the parent ends, the child ends too.

The parent keeps the write end of a pipe that is never written; the kernel closes it with the
parent, also after ``kill -9``, and the child's read returns.
"""

import os
import signal
import threading
import time

VARIABLE = "DISTILLFARM_LIFELINE_FD"
_GRACE_S = 10.0


def hold_on() -> None:
    """End this process when the parent that started it is gone; nothing without such a parent."""
    descriptor = os.environ.pop(VARIABLE, "")
    if not descriptor.isdigit():
        return
    os.set_inheritable(int(descriptor), False)
    threading.Thread(target=_watch, args=(int(descriptor),), name="lifeline", daemon=True).start()


def _watch(descriptor: int) -> None:
    while os.read(descriptor, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    # A process that cannot end in an orderly way must not stay as an orphan either.
    os._exit(1)
