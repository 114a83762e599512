"""Energy of this computer's processors from the kernel's RAPL counters.

https://docs.kernel.org/power/powercap/powercap.html: ``energy_uj`` counts microjoules and wraps at
``max_energy_range_uj``. Since Linux 5.10 only root may read it (CVE-2020-8694).
"""

import asyncio
import contextlib
import itertools
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from distillfarm.agent.protocols import DeviceDriver, Window
from distillfarm.domain.measurement import Energy

_POWERCAP = Path("/sys/class/powercap")
_PACKAGE = "package-"
_PERIOD_S = 0.02
_IDLE_S = 1.0
# Fewer counter readings than this inside the windows, and the edges decide the result.
_LEAST_READINGS = 10


@dataclass(frozen=True)
class _Counter:
    path: Path
    wraps_at_uj: int

    def read(self) -> int:
        return int(self.path.read_text())


class RaplMeter:
    """An ``EnergyMeter`` over all processor packages; idle power is measured before the job."""

    method = "RAPL package energy"

    def __init__(self, powercap: Path = _POWERCAP) -> None:
        self._powercap = powercap
        self._counters: list[_Counter] = []
        self._reason = "the meter was not started"
        self._idle_w = 0.0
        self._series: list[tuple[float, float]] = []
        self._sampling: asyncio.Task[None] | None = None

    async def start(self, driver: DeviceDriver) -> None:
        """Measure idle power for a second, then sample every 20 ms."""
        del driver
        try:
            self._counters = _counters(self._powercap)
            before = self._read()
        except PermissionError as error:
            self._reason = f"not allowed to read {error.filename}; run the agent as root"
            return
        except OSError as error:
            self._reason = f"the RAPL counters cannot be read: {error}"
            return
        if not self._counters:
            self._reason = f"the kernel offers no RAPL package counter in {self._powercap}"
            return
        await asyncio.sleep(_IDLE_S)
        after = self._read()
        self._idle_w = self._joules(before, after) / (after[0] - before[0])
        self._series = [(time.monotonic(), 0.0)]
        self._sampling = asyncio.create_task(self._sample())

    async def stop(self, windows: Sequence[Window]) -> Energy:
        """Energy of one inference over ``windows``; the reason why not without an instrument."""
        if self._sampling is None:
            return Energy(reason=self._reason)
        self._sampling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._sampling
        self._sampling = None
        inferences = sum(each.inferences for each in windows)
        seconds = sum(each.end_s - each.begin_s for each in windows)
        readings = seconds / _PERIOD_S
        if not inferences or readings < _LEAST_READINGS:
            return Energy(
                reason=f"{seconds:.2f} s of inference are too short for {self.method} every "
                f"{_PERIOD_S * 1000:.0f} ms; ask for more iterations"
            )
        joules = sum(self._at(each.end_s) - self._at(each.begin_s) for each in windows)
        gross_mj = 1e3 * joules / inferences
        idle_mj = 1e3 * self._idle_w * seconds / inferences
        # At each edge of a window the counter is known to one sampling period.
        step_mj = gross_mj * 2 * len(windows) / readings
        return Energy(
            method=f"{self.method}, all cores, every {_PERIOD_S * 1000:.0f} ms",
            gross_mj=gross_mj,
            net_mj=gross_mj - idle_mj,
            resolution_mj=step_mj,
        )

    async def _sample(self) -> None:
        before = self._read()
        joules = 0.0
        while True:
            await asyncio.sleep(_PERIOD_S)
            after = self._read()
            joules += self._joules(before, after)
            self._series.append((after[0], joules))
            before = after

    def _read(self) -> tuple[float, list[int]]:
        return time.monotonic(), [counter.read() for counter in self._counters]

    def _joules(self, before: tuple[float, list[int]], after: tuple[float, list[int]]) -> float:
        return sum(
            (late - early) % counter.wraps_at_uj / 1e6
            for counter, early, late in zip(self._counters, before[1], after[1], strict=True)
        )

    def _at(self, at_s: float) -> float:
        """Joules since the start at a moment, interpolated between readings."""
        index = bisect_left(self._series, at_s, key=lambda point: point[0])
        if index in (0, len(self._series)):
            return self._series[min(index, len(self._series) - 1)][1]
        (early_s, early_j), (late_s, late_j) = itertools.islice(self._series, index - 1, index + 1)
        return early_j + (late_j - early_j) * (at_s - early_s) / (late_s - early_s)


def _counters(powercap: Path) -> list[_Counter]:
    zones = [
        zone
        for zone in sorted(powercap.glob("intel-rapl:*"))
        if (zone / "name").read_text().startswith(_PACKAGE)
    ]
    return [
        _Counter(zone / "energy_uj", int((zone / "max_energy_range_uj").read_text()))
        for zone in zones
    ]
