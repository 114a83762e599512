"""Energy of this computer's processors from the kernel's RAPL counters.

https://docs.kernel.org/power/powercap/powercap.html: ``energy_uj`` counts microjoules and wraps at
``max_energy_range_uj``. Since Linux 5.10 only root may read it (CVE-2020-8694).
"""

import time
from dataclasses import dataclass
from pathlib import Path

from distillfarm.agent.meters.integration import Point, Record
from distillfarm.agent.meters.sampled import NotMetered, SampledMeter

METHOD = "RAPL package energy"
_POWERCAP = Path("/sys/class/powercap")
_PACKAGE = "package-"
_PERIOD_S = 0.02
_IDLE_S = 1.0


@dataclass(frozen=True)
class _Counter:
    path: Path
    wraps_at_uj: int

    def read(self) -> int:
        return int(self.path.read_text())


class RaplMeter(SampledMeter):
    """An ``EnergyMeter`` over all processor packages."""

    def __init__(self, powercap: Path = _POWERCAP) -> None:
        super().__init__(_Rapl(powercap))


class _Rapl:
    """The counters of all packages; see ``sampled.Instrument``."""

    period_s = _PERIOD_S
    idle_s = _IDLE_S

    def __init__(self, powercap: Path) -> None:
        self._powercap = powercap
        self._counters: list[_Counter] = []
        self._before_uj: list[int] = []
        self._curve: list[Point] = []

    async def begin(self) -> None:
        try:
            self._counters = _counters(self._powercap)
            self._before_uj = [counter.read() for counter in self._counters]
        except PermissionError as error:
            raise NotMetered(f"not allowed to read {error.filename}; run as root") from error
        except OSError as error:
            raise NotMetered(f"the RAPL counters cannot be read: {error}") from error
        if not self._counters:
            raise NotMetered(f"the kernel offers no RAPL package counter in {self._powercap}")
        self._curve = [Point(time.monotonic(), 0.0)]

    async def read(self) -> float:
        now_uj = [counter.read() for counter in self._counters]
        flowed_uj = sum(
            (late - early) % counter.wraps_at_uj
            for counter, early, late in zip(self._counters, self._before_uj, now_uj, strict=True)
        )
        self._before_uj = now_uj
        now_s = time.monotonic()
        self._curve.append(Point(now_s, self._curve[-1].value + flowed_uj / 1e6))
        return now_s

    def record(self) -> Record:
        method = f"{METHOD}, all cores, every {_PERIOD_S * 1000:.0f} ms"
        return Record(method, tuple(self._curve), _PERIOD_S, quantum_j=1e-6)

    async def end(self) -> None:
        """Nothing is held."""


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
