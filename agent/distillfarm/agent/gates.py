"""Conditions that must hold before a launch, and the waiting for them."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import psutil

from distillfarm.agent.protocols import DeviceDriver, Gate
from distillfarm.domain.errors import DeviceNotReady

_POLL_S = 0.5
# A phone that cools down is looked at less and less often: every look is work for it.
_LONGEST_POLL_S = 5.0
_LOOK_S = 0.25


class QuietHost:
    """Closed while other processes keep the processors of this computer busy."""

    name = "quiet"
    required = False

    def __init__(self, busy_cores: float = 0.3) -> None:
        self._busy_cores = busy_cores

    async def closed(self, driver: DeviceDriver) -> str | None:
        """Look at the load for a quarter of a second; the launch itself does not run yet."""
        del driver
        percent = await asyncio.to_thread(psutil.cpu_percent, _LOOK_S)
        busy = percent / 100 * (psutil.cpu_count() or 1)
        if busy <= self._busy_cores:
            return None
        return f"other processes keep {busy:.1f} cores busy, limit {self._busy_cores:g}"


class FreeMemory:
    """Closed while this computer has too little memory left to measure without swapping."""

    name = "memory"
    required = False

    def __init__(self, least_bytes: int = 512 * 2**20) -> None:
        self._least_bytes = least_bytes

    async def closed(self, driver: DeviceDriver) -> str | None:
        """Ask the kernel what is available."""
        del driver
        free_bytes = psutil.virtual_memory().available
        if free_bytes >= self._least_bytes:
            return None
        return f"{free_bytes / 2**20:.0f} MiB free, need {self._least_bytes / 2**20:.0f}"


class GatesShut(DeviceNotReady):
    """Required gates stayed shut; ``reasons`` says why, by the gates' names."""

    def __init__(self, reasons: Mapping[str, str], waited_s: float) -> None:
        named = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        super().__init__(f"not ready after {waited_s:.0f} s of waiting: {named}")
        self.reasons = reasons


@dataclass
class Waiting:
    """The patience of one job with its gates, spent over all its launches.

    When it is used up the launches go on unless a required gate is shut, and ``overrun`` says in
    spite of what: a number with its circumstances is worth more than none. With required gates
    each launch has a patience of its own: a phone takes minutes to cool down, after every one.
    """

    gates: Sequence[Gate]
    patience_s: float = 10.0
    required_patience_s: float = 10.0
    waited_s: float = 0.0
    overrun: dict[str, str] = field(default_factory=dict)

    async def until_open(self, driver: DeviceDriver, tell: Callable[[str], None]) -> float:
        """Wait for all gates; gives the seconds that it took, the looking included.

        ``tell`` hears what is waited for, whenever that changes.

        Raises:
            GatesShut: the patience with a required gate is used up.
        """
        clock = asyncio.get_running_loop().time
        started = clock()
        before: Collection[str] = ()
        pause_s = _POLL_S
        while shut := await _closed(self.gates, driver):
            waited_s = clock() - started
            required = {each.name for each in self.gates if each.required} & shut.keys()
            if required and waited_s >= self.required_patience_s:
                raise GatesShut({name: shut[name] for name in sorted(required)}, waited_s)
            if not required and self.waited_s + waited_s >= self.patience_s:
                self.overrun.update(shut)
                break
            if shut.keys() != before:
                tell("; ".join(f"{name}: {why}" for name, why in shut.items()))
            before = shut.keys()
            if required:
                await asyncio.sleep(min(pause_s, self.required_patience_s - waited_s))
                pause_s = min(2 * pause_s, _LONGEST_POLL_S)
            else:
                await asyncio.sleep(_POLL_S)
        waited_s = clock() - started
        self.waited_s += waited_s
        return waited_s


async def _closed(gates: Sequence[Gate], driver: DeviceDriver) -> dict[str, str]:
    reasons = {gate.name: await gate.closed(driver) for gate in gates}
    return {name: reason for name, reason in reasons.items() if reason is not None}
