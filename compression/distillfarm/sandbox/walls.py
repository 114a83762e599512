"""The walls around a program that the Linux kernel offers: no network, no writes outside.

Each wall is tried and its name returned when it stands; one that the kernel refuses is left out,
so the same code runs on macOS and in containers. Reading files stays allowed. Only the standard
library: the supervisor imports this file by itself.
"""

import ctypes
import os
import signal
import struct
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
# Root keeps these two: without them it could not read files of other owners.
_KEPT_CAPABILITIES = {1, 2}
_CAPABILITIES = 64

# linux/landlock.h; the numbers of the system calls are the same on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_RULE_PATH_BENEATH = 1
_WRITE_FILE, _IOCTL_DEV = 1 << 1, 1 << 15
# Write, remove, make (seven kinds); then what later versions added: refer, truncate, ioctl.
_WRITES_V1 = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))
_WRITES_ADDED = ((2, 1 << 13), (3, 1 << 14), (5, _IOCTL_DEV))
_FILE_RIGHTS = _WRITE_FILE | (1 << 14) | _IOCTL_DEV
_NET_SINCE, _NET_TCP = 4, 0b11
_SCOPE_SINCE, _SCOPE_SOCKETS_AND_SIGNALS = 6, 0b11
# A program may write to these besides its folder; accelerators are driven through device files.
_DEVICES = ("null", "zero", "full", "random", "urandom", "kfd")
_DEVICE_GLOBS = ("nvidia*", "dri/*", "nvidia-caps/*")


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends (Linux)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def raise_around(folders: list[str]) -> list[str]:
    """Raise every wall that this kernel has around the calling process; their names.

    Files may be written in ``folders`` alone.
    """
    if sys.platform != "linux":
        return []
    raised = []
    if _leave_network():
        raised.append("no network")
    _drop_capabilities()
    if _prctl(_PR_SET_NO_NEW_PRIVS, 1):
        raised.append("no new privileges")
        raised += _landlock(folders)
    # Last, because a change of credentials clears it.
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return raised


def _leave_network() -> bool:
    """Move into an empty network namespace, by way of a user namespace when not root."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) == 0:
        return True
    user, group = os.geteuid(), os.getegid()
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return False
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    return True


def _drop_capabilities() -> None:
    """Take root's powers away from whatever is executed next; refused, and needless, for others."""
    for capability in range(_CAPABILITIES):
        if capability not in _KEPT_CAPABILITIES:
            _prctl(_PR_CAPBSET_DROP, capability)


def _landlock(folders: list[str]) -> list[str]:
    """Allow writes under ``folders`` only, no TCP, and no signals to processes outside."""
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return []
    writes = _WRITES_V1 | sum(bit for since, bit in _WRITES_ADDED if version >= since)
    net = _NET_TCP if version >= _NET_SINCE else 0
    scope = _SCOPE_SOCKETS_AND_SIGNALS if version >= _SCOPE_SINCE else 0
    attributes = struct.pack("=QQQ", writes, net, scope)
    size = 24 if scope else 16 if net else 8
    ruleset = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return []
    files = [Path("/dev") / name for name in _DEVICES]
    files += [path for pattern in _DEVICE_GLOBS for path in Path("/dev").glob(pattern)]
    allowed = [(path, writes & _FILE_RIGHTS) for path in files if not path.is_dir()]
    for path, rights in [*((Path(each), writes) for each in folders), *allowed]:
        _allow(libc, ruleset, path, rights)
    stands = libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0
    os.close(ruleset)
    if not stands:
        return []
    return ["writes only in the folder", *(["no signals to others"] if scope else [])]


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    rule = struct.pack("=Qi", rights, beneath)
    libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0)
    os.close(beneath)


def _prctl(option: int, value: int) -> bool:
    if sys.platform != "linux":
        return False
    return ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0  # type: ignore[no-any-return]
