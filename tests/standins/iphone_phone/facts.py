"""What lockdown tells of a phone, by domain and key."""

import time
from dataclasses import dataclass

from iphone_phone.condition import Condition
from iphone_phone.identities import Identity, System
from iphone_phone.wire import Plist

# What a computer may read that the phone does not trust.
_OPEN = frozenset(
    {
        *("BoardId", "BuildVersion", "CPUArchitecture", "ChipID", "DeviceClass", "DeviceName"),
        *("DevicePublicKey", "DieID", "HardwareModel", "HardwarePlatform", "ProductName"),
        *("ProductType", "ProductVersion", "ProtocolVersion", "UniqueChipID", "UniqueDeviceID"),
        "WiFiAddress",
    }
)
_USED_BYTES = 21_000_000_000


@dataclass(frozen=True)
class Facts:
    """One phone's: the ``number``-th of its model in the lab, with the system that it runs now."""

    identity: Identity
    number: int
    system: System
    public_key: bytes

    @property
    def udid(self) -> str:
        """The phone's UDID."""
        return self.identity.udid(self.number)

    @property
    def unique_chip_id(self) -> int:
        """The phone's ECID."""
        return self.identity.unique_chip_id(self.number)

    @property
    def serial_number(self) -> str:
        """What is engraved."""
        return f"STANDIN{self.number:05d}"

    @property
    def name(self) -> str:
        """What its owner called it."""
        return f"lab-{self.identity.name}-{self.number}"

    def domain(self, name: str | None, condition: Condition, paired: bool) -> Plist | None:
        """Everything in a domain, None where the computer may not read it."""
        if name:
            return self._domains(condition).get(name, {}) if paired else None
        values = self._general(condition)
        return values if paired else {key: values[key] for key in _OPEN}

    def _general(self, condition: Condition) -> Plist:
        identity = self.identity
        return {
            "ActivationState": "Activated",
            "BoardId": identity.board_id,
            "BuildVersion": self.system.build,
            "CPUArchitecture": "arm64e",
            "ChipID": identity.chip_id,
            "DeviceClass": "iPhone",
            "DeviceName": self.name,
            "DevicePublicKey": self.public_key,
            "DieID": self.unique_chip_id,
            "HardwareModel": identity.board,
            "HardwarePlatform": identity.platform,
            "HostAttached": True,
            "HumanReadableProductVersionString": self.system.version,
            "PasswordProtected": condition.locked,
            "ProductName": "iPhone OS",
            "ProductType": identity.product_type,
            "ProductVersion": self.system.version,
            "ProtocolVersion": "2",
            "SerialNumber": self.serial_number,
            "TimeIntervalSince1970": time.time(),
            "TimeZone": "Europe/Berlin",
            "UniqueChipID": self.unique_chip_id,
            "UniqueDeviceID": self.udid,
            "WiFiAddress": f"02:00:00:00:00:{self.number:02x}",
        }

    def _domains(self, condition: Condition) -> dict[str, Plist]:
        storage_bytes = self.identity.storage_bytes
        return {
            "com.apple.disk_usage": {
                "AmountDataAvailable": storage_bytes - _USED_BYTES,
                "TotalDataAvailable": storage_bytes - _USED_BYTES,
                "TotalDataCapacity": storage_bytes,
                "TotalDiskCapacity": storage_bytes,
            },
            "com.apple.international": {"Language": "en", "Locale": "en_US"},
            "com.apple.mobile.battery": {
                "BatteryCurrentCapacity": condition.battery_percent,
                "BatteryIsCharging": condition.charging,
                "ExternalChargeCapable": True,
                "ExternalConnected": True,
                "FullyCharged": condition.battery_percent == 100,
                "HasBattery": True,
            },
            "com.apple.mobile.wireless_lockdown": {"EnableWifiConnections": False},
            "com.apple.security.mac.amfi": {"DeveloperModeStatus": condition.developer_mode},
        }
