"""The instrument behind Xcode's energy gauge: scores without a unit, by the CPU that was used."""

import asyncio
import time
from typing import Any

from pymobiledevice3.dtx import DTXContext, dtx_on_invoke

from iphone_phone.instruments.instrument import Instrument

# A core that is busy all the time costs so much; what the radio and the app's mere life add.
_CORE_COST = 10.0
_OVERHEAD = 490.0
_PAUSE_S = 0.2


class Energy(Instrument):
    """Energy: its scores compare moments of one app on one phone, and nothing else."""

    IDENTIFIER = "com.apple.xcode.debug-gauge-data-providers.Energy"

    def __init__(self, context: DTXContext) -> None:
        super().__init__(context)
        self._began_s = time.monotonic()
        self._before: dict[int, tuple[float, float]] = {}

    @dtx_on_invoke("startSamplingForPIDs:")
    async def start(self, pids: list[int]) -> None:
        """Begin anew."""
        self._began_s = time.monotonic()
        self._before.clear()

    @dtx_on_invoke("stopSamplingForPIDs:")
    async def stop(self, pids: list[int]) -> None:
        """End."""
        self._before.clear()

    @dtx_on_invoke("sampleAttributes:forPIDs:")
    async def sample(self, attributes: dict[str, Any], pids: list[int]) -> dict[int, Any]:
        """The scores since the last sample."""
        await asyncio.sleep(_PAUSE_S)
        return {int(pid): self._scores(int(pid)) for pid in pids}

    def _scores(self, pid: int) -> dict[str, Any]:
        cost = _CORE_COST * self._busy_cores(pid)
        return {
            "energy.cost": cost,
            "energy.cpu.cost": cost,
            "energy.display.cost": 0.0,
            "energy.gpu.cost": 0.0,
            "energy.inducedthermalstate.cost": -1,
            "energy.location.cost": 0.0,
            "energy.networking.cost": 0.0,
            "energy.overhead": _OVERHEAD,
            "energy.thermalstate.cost": 0,
            "energy.version": 1,
            "kIDEGaugeSecondsSinceInitialQueryKey": int(time.monotonic() - self._began_s),
        }

    def _busy_cores(self, pid: int) -> float:
        running = self.device.running.get(pid)
        used = running.sample() if running is not None else None
        if used is None:
            return 0.0
        now_s = time.monotonic()
        then_s, then_cpu_s = self._before.get(pid, (now_s, used.cpu_s))
        self._before[pid] = now_s, used.cpu_s
        return (used.cpu_s - then_cpu_s) / (now_s - then_s) if now_s > then_s else 0.0
