"""Stands where a device has no instrument for energy."""

from collections.abc import Sequence

from distillfarm.agent.protocols import DeviceDriver, Window
from distillfarm.domain.measurement import Energy


class NoMeter:
    """An ``EnergyMeter`` that measures nothing and says why."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def start(self, driver: DeviceDriver) -> None:
        """See ``protocols.EnergyMeter``."""
        del driver

    async def stop(self, windows: Sequence[Window]) -> Energy:
        """The reason."""
        del windows
        return Energy(reason=self._reason)
