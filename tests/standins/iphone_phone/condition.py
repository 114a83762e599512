"""What a test may change of a phone: what its user, its battery and its weather do to it."""

from dataclasses import dataclass
from enum import StrEnum


class Trust(StrEnum):
    """What the user answers to "Trust This Computer?"."""

    GRANTED = "granted"
    PENDING = "pending"
    DENIED = "denied"


class Thermal(StrEnum):
    """Foundation's ``ProcessInfo.ThermalState``."""

    NOMINAL = "nominal"
    FAIR = "fair"
    SERIOUS = "serious"
    CRITICAL = "critical"


@dataclass(frozen=True)
class Condition:
    """A sound phone, at rest on its cable, unless told otherwise.

    ``silent`` names services that take every connection and answer nothing, "lockdown" among them;
    ``refused`` those that lockdown does not know. ``user_trusts_developer`` is what Settings, VPN &
    Device Management says of the app's signer. ``supervisor`` is the certificate of who supervises
    it, in PEM; empty for nobody.
    """

    trust: Trust = Trust.GRANTED
    locked: bool = False
    developer_mode: bool = True
    image_mounted: bool = True
    user_trusts_developer: bool = True
    thermal: Thermal = Thermal.NOMINAL
    low_power_mode: bool = False
    battery_percent: int = 84
    battery_c: float = 29.8
    charging: bool = True
    silent: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    supervisor: str = ""
