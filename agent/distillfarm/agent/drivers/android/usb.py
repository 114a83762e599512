"""Phones on this computer's USB as the kernel lists them, whether adb sees them or not."""

from dataclasses import dataclass
from pathlib import Path

DEVICES = Path("/sys/bus/usb/devices")
# The interface of adbd: vendor specific, sub-class 0x42, protocol 1 (AOSP, adb/client/usb_*.cpp).
_ADB = ("ff", "42", "01")
# Picture transfer, as which phones show their photos and, by MTP, their files: what a phone offers
# where debugging is off.
_STILL_IMAGE = "06"
_MTP = "MTP"
_SLOWEST_MBIT = 480.0


@dataclass(frozen=True)
class UsbPhone:
    """One device that looks like a phone; ``mbit`` is the speed of its connection."""

    name: str
    serial: str
    port: str
    mbit: float
    debugging: bool

    @property
    def slow(self) -> bool:
        """Whether it hangs on a hub or cable of USB 1, on which nothing arrives in time."""
        return self.mbit < _SLOWEST_MBIT


def usb_phones(devices: Path = DEVICES) -> tuple[UsbPhone, ...]:
    """What looks like a phone: it offers adb, or files to copy.

    ``devices`` is the kernel's folder (https://docs.kernel.org/driver-api/usb/usb.html); where it
    is missing, as on other systems, there are none.
    """
    found = []
    for folder in sorted(devices.glob("*/idVendor")):
        device = folder.parent
        interfaces = [
            (_text(each / "bInterfaceClass"), each) for each in device.glob(f"{device.name}:*")
        ]
        debugging = any(_is_adb(each) for _, each in interfaces)
        if debugging or any(_offers_files(kind, each) for kind, each in interfaces):
            name = f"{_text(device / 'manufacturer')} {_text(device / 'product')}".strip()
            found.append(
                UsbPhone(
                    name=name or "unnamed device",
                    serial=_text(device / "serial"),
                    port=device.name,
                    mbit=_speed(device),
                    debugging=debugging,
                )
            )
    return tuple(found)


def _is_adb(interface: Path) -> bool:
    parts = ("bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol")
    return tuple(_text(interface / part) for part in parts) == _ADB


def _offers_files(kind: str, interface: Path) -> bool:
    return kind == _STILL_IMAGE or _text(interface / "interface") == _MTP


def _speed(device: Path) -> float:
    try:
        return float(_text(device / "speed"))
    except ValueError:
        return _SLOWEST_MBIT


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
