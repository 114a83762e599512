"""The instrument that tells of the phone and of who runs on it."""

import time
from typing import Any

from bpylist2 import archiver
from pymobiledevice3.dtx import dtx_on_invoke

from iphone_phone.instruments.instrument import Instrument
from iphone_phone.instruments.sysmon import PROCESS_ATTRIBUTES, SYSTEM_ATTRIBUTES

_COCOA_EPOCH_S = 978_307_200
_ARM64, _ARM64E = 16_777_228, 2
# A tick of the phone's clock is 125/3 ns.
_TICK = (125, 3)


class Date:
    """An NSDate; pymobiledevice3's own can only be read."""

    def __init__(self, unix_s: float) -> None:
        # A real number, never an integer: go-ios takes Apple at its word.
        self._cocoa_s = float(unix_s - _COCOA_EPOCH_S)

    @staticmethod
    def encode_archive(date: "Date", archive: archiver.ArchivingObject) -> None:
        """Put it into a keyed archive."""
        archive.encode("NS.time", date._cocoa_s)


archiver.ARCHIVE_CLASS_MAP[Date] = "NSDate"


class Information(Instrument):
    """deviceinfo."""

    IDENTIFIER = "com.apple.instruments.server.services.deviceinfo"

    @dtx_on_invoke("runningProcesses")
    async def running_processes(self) -> list[dict[str, Any]]:
        """Every process."""
        launchd = {
            "isApplication": False,
            "name": "launchd",
            "pid": 1,
            "realAppName": "/sbin/launchd",
            "startDate": Date(_COCOA_EPOCH_S),
        }
        return [launchd] + [
            {
                "bundleIdentifier": each.app.bundle,
                "foregroundRunning": True,
                "isApplication": True,
                "name": each.app.name,
                "pid": pid,
                "realAppName": f"{each.app.path}/{each.app.name}",
                "startDate": Date(each.started_s),
            }
            for pid, each in self.device.running.items()
        ]

    @dtx_on_invoke("isRunningPid:")
    async def is_running(self, pid: int) -> bool:
        """Whether there is such a process."""
        return int(pid) in self.device.running

    @dtx_on_invoke("execnameForPid:")
    async def name_of(self, pid: int) -> str:
        """A process's program, empty for none."""
        running = self.device.running.get(int(pid))
        return running.app.name if running is not None else ""

    @dtx_on_invoke("sysmonProcessAttributes")
    async def process_attributes(self) -> list[str]:
        """What sysmontap can tell of a process."""
        return list(PROCESS_ATTRIBUTES)

    @dtx_on_invoke("sysmonSystemAttributes")
    async def system_attributes(self) -> list[str]:
        """What sysmontap can tell of the system."""
        return list(SYSTEM_ATTRIBUTES)

    @dtx_on_invoke("hardwareInformation")
    async def hardware(self) -> dict[str, Any]:
        """The processor."""
        return {
            "ProcessorTraceState": {"enabled": False},
            "hwCPU64BitCapable": 1,
            "hwCPUsubtype": _ARM64E,
            "hwCPUtype": _ARM64,
            "numberOfCpus": self.device.identity.cores,
            "numberOfPhysicalCpus": self.device.identity.cores,
        }

    @dtx_on_invoke("systemInformation")
    async def system(self) -> dict[str, Any]:
        """The phone and its iOS."""
        facts = self.device.facts
        return {
            "_deviceDisplayName": facts.name,
            "_deviceIdentifier": facts.udid,
            "_deviceVersion": facts.system.build,
            "_productType": facts.identity.product_type,
            "_productVersion": facts.system.version,
        }

    @dtx_on_invoke("machTimeInfo")
    async def clock(self) -> list[int]:
        """The clock's ticks now, and how long one is in nanoseconds, as a fraction."""
        over, under = _TICK
        return [time.monotonic_ns() * under // over, over, under]
