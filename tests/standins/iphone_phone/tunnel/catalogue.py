"""What is reached in the tunnel, and at which port."""

from dataclasses import dataclass
from enum import Enum

from iphone_phone.device import Device

DISCOVERY_PORT = 58783
_FIRST_PORT = 50001
_SHIM = ".shim.remote"


class Speaks(Enum):
    """How a service is spoken to."""

    SHIM = "as through lockdown, after a check-in"
    RAW = "in its own protocol"
    XPC = "in RemoteXPC"


@dataclass(frozen=True)
class Offered:
    """A service in the tunnel; ``base`` is what a fault names it by."""

    name: str
    base: str
    port: int
    speaks: Speaks
    needs_image: bool = False


_SHIMS = (
    "com.apple.afc",
    "com.apple.crashreportcopymobile",
    "com.apple.crashreportmover",
    "com.apple.misagent",
    "com.apple.mobile.diagnostics_relay",
    "com.apple.mobile.heartbeat",
    "com.apple.mobile.house_arrest",
    "com.apple.mobile.installation_proxy",
    "com.apple.mobile.mobile_image_mounter",
    "com.apple.mobile.notification_proxy",
    "com.apple.os_trace_relay",
    "com.apple.syslog_relay",
)
LOCKDOWN = "com.apple.mobile.lockdown.remote.trusted"
INSTRUMENTS = "com.apple.instruments.dtservicehub"
APPS = "com.apple.coredevice.appservice"
_SERVICES: tuple[tuple[str, str, Speaks, bool], ...] = (
    *((f"{name}{_SHIM}", name, Speaks.SHIM, False) for name in _SHIMS),
    (LOCKDOWN, LOCKDOWN, Speaks.SHIM, False),
    (INSTRUMENTS, INSTRUMENTS, Speaks.RAW, True),
    (APPS, APPS, Speaks.XPC, True),
)
DISCOVERY = Offered("discovery", "discovery", DISCOVERY_PORT, Speaks.XPC)
SERVICES = tuple(
    Offered(name, base, _FIRST_PORT + index, speaks, needs_image)
    for index, (name, base, speaks, needs_image) in enumerate(_SERVICES)
)


def offered(device: Device) -> tuple[Offered, ...]:
    """What this phone offers now, discovery aside."""
    mounted = device.condition.image_mounted
    return tuple(each for each in SERVICES if mounted or not each.needs_image)


def at(device: Device, port: int) -> Offered | None:
    """What is reached at a port, if there is something now."""
    return next((each for each in (DISCOVERY, *offered(device)) if each.port == port), None)
