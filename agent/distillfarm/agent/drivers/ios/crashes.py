"""What a crash report of iOS says about the end of a process.

A report is one line of JSON as header, then a body of JSON. Its fields stand at
https://developer.apple.com/documentation/xcode/ in "Interpreting the JSON format of a crash
report" and in "Identifying high-memory use with jetsam event reports".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from distillfarm.agent.drivers.ios.protocol import Report

JETSAM = "JetsamEvent"


class _Exception(msgspec.Struct, frozen=True):
    type: str = ""
    signal: str = ""


class _Termination(msgspec.Struct, frozen=True):
    namespace: str = ""
    indicator: str = ""


class _Crash(msgspec.Struct, frozen=True):
    pid: int
    exception: _Exception = _Exception()
    termination: _Termination = _Termination()


class _Killed(msgspec.Struct, frozen=True):
    pid: int
    reason: str = ""


class _Jetsam(msgspec.Struct, frozen=True):
    processes: tuple[_Killed, ...] = ()


@dataclass(frozen=True)
class Cause:
    """Why a process ended; ``words`` are iOS's own."""

    words: str
    out_of_memory: bool = False


def cause(reports: Sequence[Report], pid: int) -> Cause | None:
    """What the reports say of a process; None where none is about it."""
    for report in reports:
        body = report.text.partition("\n")[2]
        found = _jetsam(body, pid) if report.name.startswith(JETSAM) else _crash(body, pid)
        if found is not None:
            return found
    return None


def _crash(body: str, pid: int) -> Cause | None:
    try:
        told = msgspec.json.decode(body, type=_Crash)
    except msgspec.MsgspecError:
        return None
    if told.pid != pid:
        return None
    words = (
        told.exception.type,
        told.exception.signal,
        told.termination.namespace,
        told.termination.indicator,
    )
    return Cause(" ".join(each for each in words if each))


def _jetsam(body: str, pid: int) -> Cause | None:
    try:
        told = msgspec.json.decode(body, type=_Jetsam)
    except msgspec.MsgspecError:
        return None
    # All that ran are listed; only what was killed has a reason.
    for each in told.processes:
        if each.pid == pid and each.reason:
            return Cause(f"jetsam: {each.reason}", out_of_memory=True)
    return None
