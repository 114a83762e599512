"""Crash reports as iOS writes them: a line of JSON that is their header, then their body.

Header, types and body follow https://developer.apple.com/documentation/xcode/
interpreting-the-json-format-of-a-crash-report and
https://developer.apple.com/documentation/xcode/identifying-high-memory-use-with-jetsam-event-reports
"""

import datetime
import json
import signal
import uuid
from pathlib import Path

from iphone_phone.facts import Facts

_CRASH, _JETSAM = "309", "298"
_PAGE_BYTES = 16384
# How the kernel calls the exception behind a signal, in the order of sys/exc_types.
_EXCEPTIONS = {
    signal.SIGSEGV: "EXC_BAD_ACCESS",
    signal.SIGBUS: "EXC_BAD_ACCESS",
    signal.SIGILL: "EXC_BAD_INSTRUCTION",
    signal.SIGFPE: "EXC_ARITHMETIC",
    signal.SIGTRAP: "EXC_BREAKPOINT",
    signal.SIGABRT: "EXC_CRASH",
}


def is_crash(number: int) -> bool:
    """Whether ReportCrash writes of this signal."""
    return number in _EXCEPTIONS


class Crashes:
    """The folder of reports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def erase(self) -> None:
        """Delete every report."""
        for report in self.folder.iterdir():
            report.unlink()

    def crashed(self, facts: Facts, app: str, bundle: str, pid: int, number: int) -> Path:
        """Write that a signal killed an app."""
        now, incident = _now(), str(uuid.uuid4()).upper()
        header = _header(facts, now, incident, _CRASH) | {
            "app_name": app,
            "app_version": "1.0",
            "bundleID": bundle,
            "name": app,
        }
        body = {
            "bundleInfo": {"CFBundleIdentifier": bundle},
            "captureTime": header["timestamp"],
            "cpuType": "ARM-64",
            "exception": {
                "codes": "0x0000000000000000, 0x0000000000000000",
                "signal": signal.Signals(number).name,
                "type": _EXCEPTIONS[signal.Signals(number)],
            },
            "faultingThread": 0,
            "incident": incident,
            "modelCode": facts.identity.product_type,
            "osVersion": {
                "build": facts.system.build,
                "train": f"iPhone OS {facts.system.version}",
            },
            "pid": pid,
            "procName": app,
            "termination": {
                "code": number,
                "indicator": signal.strsignal(number),
                "namespace": "SIGNAL",
            },
            "threads": [
                {
                    "frames": [],
                    "id": 1,
                    "threadState": {"flavor": "ARM_THREAD_STATE64", "x": []},
                    "triggered": True,
                }
            ],
            "usedImages": [],
        }
        return self._write(f"{app}-{now:%Y-%m-%d-%H%M%S}", header, body)

    def jetsam(self, facts: Facts, app: str, pid: int, resident_bytes: int) -> Path:
        """Write that the kernel killed an app for its memory."""
        now, incident = _now(), str(uuid.uuid4()).upper()
        header = _header(facts, now, incident, _JETSAM)
        pages = resident_bytes // _PAGE_BYTES
        body = {
            "build": f"iPhone OS {facts.system.version} ({facts.system.build})",
            "date": header["timestamp"],
            "incident": incident,
            "largestProcess": app,
            "memoryStatus": {"memoryPages": {"active": pages}, "pageSize": _PAGE_BYTES},
            "processes": [
                {
                    "lifetimeMax": pages,
                    "name": app,
                    "pid": pid,
                    "reason": "per-process-limit",
                    "rpages": pages,
                    "states": ["frontmost"],
                }
            ],
            "product": facts.identity.product_type,
        }
        return self._write(f"JetsamEvent-{now:%Y-%m-%d-%H%M%S}", header, body)

    def _write(self, name: str, header: dict[str, object], body: dict[str, object]) -> Path:
        path = self.folder / f"{name}.ips"
        # Two in a second get names of their own, as on a phone.
        number = 0
        while path.exists():
            number += 1
            path = self.folder / f"{name}.{number:03d}.ips"
        path.write_text(f"{json.dumps(header)}\n{json.dumps(body, indent=2)}")
        return path


def _now() -> datetime.datetime:
    return datetime.datetime.now().astimezone()


def _header(facts: Facts, now: datetime.datetime, incident: str, kind: str) -> dict[str, object]:
    return {
        "bug_type": kind,
        "incident_id": incident,
        "os_version": f"iPhone OS {facts.system.version} ({facts.system.build})",
        "timestamp": f"{now:%Y-%m-%d %H:%M:%S.00 %z}",
    }
