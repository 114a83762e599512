"""A phone's battery as its IORegistry has it.

The keys are those that real phones answer, in millivolts, milliamperes, milliampere hours and
hundredths of a degree: https://github.com/doronz88/pymobiledevice3, ``diagnostics battery single``.
"""

import time

from iphone_phone.condition import Condition
from iphone_phone.identities import Identity
from iphone_phone.wire import Plist

# An aged battery, charged by a computer's port.
_HEALTH = 0.95
_VOLTAGE_MV = 4210
_CHARGING_MA, _RESTING_MA = 450, -120
# The gauge is read that often.
_UPDATE_S = 20


def registry(identity: Identity, condition: Condition) -> Plist:
    """The entry of class ``IOPMPowerSource``."""
    full_mah = round(identity.battery_mah * _HEALTH)
    current_ma = _CHARGING_MA if condition.charging else _RESTING_MA
    return {
        "AdapterDetails": {"Current": 500, "Description": "usb host", "Voltage": 5000, "Watts": 2},
        "Amperage": current_ma,
        "AppleRawBatteryVoltage": _VOLTAGE_MV,
        "AppleRawCurrentCapacity": full_mah * condition.battery_percent // 100,
        "AppleRawMaxCapacity": full_mah,
        "BatteryInstalled": True,
        "CurrentCapacity": condition.battery_percent,
        "CycleCount": 211,
        "DesignCapacity": identity.battery_mah,
        "ExternalConnected": True,
        "FullyCharged": condition.battery_percent == 100,
        "IOClass": "AppleSmartBattery",
        "InstantAmperage": current_ma,
        "IsCharging": condition.charging,
        "MaxCapacity": 100,
        "NominalChargeCapacity": full_mah,
        "Temperature": round(condition.battery_c * 100),
        "UpdateTime": int(time.time()) // _UPDATE_S * _UPDATE_S,
        "Voltage": _VOLTAGE_MV,
    }


def gauge(identity: Identity) -> Plist:
    """What ``GasGauge`` diagnostics tell."""
    return {
        "CycleCount": 211,
        "DesignCapacity": identity.battery_mah,
        "FullChargeCapacity": round(identity.battery_mah * _HEALTH),
        "Status": "Success",
    }
