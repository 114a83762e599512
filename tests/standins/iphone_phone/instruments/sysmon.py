"""The instrument that samples memory and CPU of every process: those of this computer's."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pymobiledevice3.dtx import DTXContext, dtx_on_invoke
from pymobiledevice3.exceptions import ConnectionTerminatedError

from iphone_phone.instruments.instrument import Instrument
from iphone_phone.processes import Sample

PROCESS_ATTRIBUTES = (
    *("memVirtualSize", "cpuUsage", "physFootprint", "memResidentSize", "memAnon"),
    *("pid", "powerScore", "name"),
)
SYSTEM_ATTRIBUTES = ("physMemSize",)
# The kinds of rows: the system's and the processes'.
_SYSTEM_ROW, _PROCESS_ROW = 41, 5
_DEFAULT_MS = 500


@dataclass(frozen=True)
class Load:
    """What a process uses now; of a core, since the sample before."""

    pid: int
    name: str
    sample: Sample
    cpu_percent: float

    def told(self) -> dict[str, Any]:
        """By the names of ``PROCESS_ATTRIBUTES``."""
        return {
            "cpuUsage": self.cpu_percent,
            "memAnon": self.sample.anonymous_bytes,
            "memResidentSize": self.sample.resident_bytes,
            "memVirtualSize": self.sample.virtual_bytes,
            "name": self.name,
            # Memory that is the process's alone, as the kernel's ledger counts it.
            "physFootprint": self.sample.anonymous_bytes,
            "pid": self.pid,
            "powerScore": 0.0,
        }


class Sysmon(Instrument):
    """sysmontap: a row for the system and one for its processes, every interval."""

    IDENTIFIER = "com.apple.instruments.server.services.sysmontap"

    def __init__(self, context: DTXContext) -> None:
        super().__init__(context)
        self._interval_s = _DEFAULT_MS / 1000
        self._process_attributes: tuple[str, ...] = PROCESS_ATTRIBUTES
        self._system_attributes: tuple[str, ...] = SYSTEM_ATTRIBUTES
        self._sampling: asyncio.Task[None] | None = None

    @dtx_on_invoke("setConfig:")
    async def configure(self, config: dict[str, Any]) -> None:
        """What to sample, and how often."""
        self._interval_s = int(config.get("ur", _DEFAULT_MS)) / 1000
        self._process_attributes = tuple(config.get("procAttrs", PROCESS_ATTRIBUTES))
        self._system_attributes = tuple(config.get("sysAttrs", SYSTEM_ATTRIBUTES))

    @dtx_on_invoke("start")
    async def start(self) -> None:
        """Begin."""
        self._sampling = asyncio.create_task(self._sample())

    @dtx_on_invoke("stop")
    async def stop(self) -> None:
        """End."""
        if self._sampling is not None:
            self._sampling.cancel()

    def on_closed(self, reason: str = "") -> None:
        """The client has gone."""
        if self._sampling is not None:
            self._sampling.cancel()
        super().on_closed(reason)

    async def _sample(self) -> None:
        before: dict[int, tuple[float, float]] = {}
        try:
            await self.send_notification({"k": 0, "t": "ack", "tv": 1})
            while True:
                await asyncio.sleep(self._interval_s)
                loads = self._loads(before)
                await self.send_notification([self._system_row(loads), self._process_row(loads)])
        except (ConnectionTerminatedError, ConnectionError):
            return

    def _system_row(self, loads: Sequence[Load]) -> dict[str, Any]:
        cores = self.device.identity.cores
        told = {"physMemSize": self.device.identity.memory_bytes}
        return {
            "CPUCount": cores,
            "EnabledCPUs": cores,
            "EndMachAbsTime": time.monotonic_ns(),
            "StartMachAbsTime": time.monotonic_ns(),
            "System": [told.get(name, 0) for name in self._system_attributes],
            "SystemCPUUsage": {"CPU_TotalLoad": sum(load.cpu_percent for load in loads)},
            "Type": _SYSTEM_ROW,
        }

    def _process_row(self, loads: Sequence[Load]) -> dict[str, Any]:
        rows = {}
        for load in loads:
            told = load.told()
            rows[load.pid] = [told.get(name, 0) for name in self._process_attributes]
        return {
            "EndMachAbsTime": time.monotonic_ns(),
            "Processes": rows,
            "StartMachAbsTime": time.monotonic_ns(),
            "Type": _PROCESS_ROW,
        }

    def _loads(self, before: dict[int, tuple[float, float]]) -> list[Load]:
        loads = []
        for pid, running in self.device.running.items():
            if (sample := running.sample()) is None:
                continue
            now_s = time.monotonic()
            # A process's first sample has nothing to be compared with.
            then_s, then_cpu_s = before.get(pid, (now_s, sample.cpu_s))
            busy_s, passed_s = sample.cpu_s - then_cpu_s, now_s - then_s
            percent = 100 * busy_s / passed_s if passed_s > 0 else 0.0
            before[pid] = now_s, sample.cpu_s
            loads.append(Load(pid, running.app.name, sample, percent))
        return loads
