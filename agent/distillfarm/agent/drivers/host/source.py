"""Finds this computer: one device, always there."""

import asyncio
from collections.abc import AsyncIterator

from distillfarm.agent.drivers.host import facts
from distillfarm.agent.drivers.host.driver import TARGETS, HostDriver
from distillfarm.agent.gates import FreeMemory, QuietHost
from distillfarm.agent.meters.context import ContextMeter
from distillfarm.agent.meters.rapl import RaplMeter
from distillfarm.agent.protocols import Attached
from distillfarm.agent.settings import AgentSettings
from distillfarm.domain.hardware import parse_target


class HostSource:
    """A ``protocols.DeviceSource`` of one device."""

    def __init__(self, settings: AgentSettings) -> None:
        self._folder = settings.folder
        self._patience_s = settings.gate_patience_s
        self._targets = (*TARGETS, *map(parse_target, settings.host_targets))

    async def watch(self) -> AsyncIterator[tuple[Attached, ...]]:
        """This computer, once; it never goes away."""
        self._folder.mkdir(parents=True, exist_ok=True)
        yield (
            Attached(
                serial=facts.serial(self._folder),
                driver=HostDriver(self._folder / "host", targets=self._targets),
                gates=(QuietHost(), FreeMemory()),
                meters=(ContextMeter("temperature", "temperature_c", "°C"),),
                energy=RaplMeter(),
                patience_s=self._patience_s,
            ),
        )
        await asyncio.Event().wait()
