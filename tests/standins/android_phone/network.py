"""A phone's cable: a pair of virtual ends, one on this computer and one in the phone's namespace.

The phone's end goes with its namespace, and takes the other with it.
"""

import socket

from android_phone import needs
from android_phone.needs import NoPhone

PORT = 5555
_ANSWER_S = 1.0


def address(index: int) -> str:
    """Where the phone's adbd listens, as ``adb connect`` takes it."""
    return f"10.77.{index}.2:{PORT}"


def clear(index: int) -> None:
    """Remove what is left of it, after a crashed run too.

    Raises:
        NoPhone: it stays.
    """
    if not _exists(index):
        return
    try:
        needs.run(["ip", "link", "delete", _end(index)])
    except NoPhone:
        # The kernel may have been quicker, as it clears a dead namespace.
        if _exists(index):
            raise


def connect(index: int, namespace_pid: int) -> None:
    """Lay the cable to the namespace of that process."""
    end, pid = _end(index), str(namespace_pid)
    peer = ["peer", "name", "eth0", "netns", pid]
    needs.run(["ip", "link", "add", end, "type", "veth", *peer])
    needs.run(["ip", "address", "add", f"10.77.{index}.1/24", "dev", end])
    needs.run(["ip", "link", "set", end, "up"])
    _inside(pid, "address", "add", f"10.77.{index}.2/24", "dev", "eth0")
    _inside(pid, "link", "set", "lo", "up")
    _inside(pid, "link", "set", "eth0", "up")


def cut(namespace_pid: int) -> None:
    """Take the phone's end down: packets vanish, and neither side is told."""
    _inside(str(namespace_pid), "link", "set", "eth0", "down")


def restore(namespace_pid: int) -> None:
    """Bring the phone's end up again."""
    _inside(str(namespace_pid), "link", "set", "eth0", "up")


def answer(index: int) -> int:
    """What a connection to adbd gives: 0, or the number of the error."""
    host, _, port = address(index).partition(":")
    with socket.socket() as probe:
        probe.settimeout(_ANSWER_S)
        return probe.connect_ex((host, int(port)))


def _exists(index: int) -> bool:
    return any(name == _end(index) for _, name in socket.if_nameindex())


def _end(index: int) -> str:
    return f"dfphone{index}"


def _inside(pid: str, *command: str) -> None:
    needs.run(["nsenter", "--net", "--target", pid, "ip", *command])
