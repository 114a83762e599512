"""How an iPhone fares: what it tells by itself, and what its app was told in the last launch."""

from collections.abc import Mapping
from dataclasses import dataclass

from distillfarm.agent.drivers.ios.job_files import Conditions, Thermal
from distillfarm.agent.drivers.ios.protocol import Condition

THROTTLING = {
    Thermal.NOMINAL: 0,
    Thermal.FAIR: 1,
    Thermal.SERIOUS: 3,
    Thermal.CRITICAL: 5,
}
"""The thermal states on the scale of ``DeviceHealth.throttling``, 0 for none to 6 for shutdown."""


@dataclass(frozen=True)
class State:
    """One look; ``app`` is what the app was told, None where nothing was launched lately."""

    phone: Condition
    app: Conditions | None = None

    @property
    def throttling(self) -> int | None:
        """How far it slows itself down, 0 to 6."""
        return None if self.app is None else THROTTLING[self.app.thermal]

    @property
    def battery(self) -> str:
        """The battery's state in a word or two."""
        words = {True: "charging", False: "not charging", None: ""}[self.phone.charging]
        return f"{words} by usb".strip() if self.phone.by_cable else words

    def context(self) -> Mapping[str, str]:
        """What it tells, by name; what it does not tell is absent."""
        phone, app = self.phone, self.app
        told: dict[str, object | None] = {
            "battery_percent": phone.battery_percent,
            "battery": self.battery or None,
            "battery_c": phone.battery_c,
            "battery_cycles": phone.cycles,
            "free_bytes": phone.free_bytes,
            "locked": _word(phone.locked),
            "thermal_state": app.thermal.value if app else None,
            "low_power_mode": _word(app.low_power_mode) if app else None,
            # Said, since a reader would look for it.
            "cpu_mhz": "iOS tells no clocks",
            "affinity": "iOS alone chooses the cores",
        }
        return {name: str(value) for name, value in told.items() if value is not None}


def _word(value: bool | None) -> str | None:
    return None if value is None else ("yes" if value else "no")
