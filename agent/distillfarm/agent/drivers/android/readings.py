"""How a phone fares now, read from the outputs of its own commands.

Every function is pure and takes the output as text; what cannot be read is absent, never guessed.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

BATTERY_COMMAND = "dumpsys battery"
THERMAL_COMMAND = "dumpsys thermalservice"
# A zone whose sensor sleeps cannot be read; the others are told all the same.
ZONES_COMMAND = (
    "grep -H . /sys/class/thermal/thermal_zone*/type /sys/class/thermal/thermal_zone*/temp"
)
BOOT_FILE = "/proc/sys/kernel/random/boot_id"
BOOT_COMMAND = f"cat {BOOT_FILE}"

# TemperatureType of android.hardware.thermal; 6 to 8 are currents, voltages and percentages.
_KINDS = {
    0: "cpu",
    1: "gpu",
    2: "battery",
    3: "skin",
    4: "usb",
    5: "power amplifier",
    9: "npu",
}
_NOT_TEMPERATURES = (6, 7, 8)
# Zones of Qualcomm's kernel that carry a charge, a current or a voltage.
_OTHER_ZONE = re.compile(r"bcl|ibat|vbat|vph|lvl|^soc$", re.IGNORECASE)
_BATTERY_LINE = re.compile(r"^\s+([A-Za-z ]+): (\S+)\s*$", re.MULTILINE)
_TEMPERATURE = re.compile(r"Temperature\{mValue=([^,]+), mType=(-?\d+), mName=(.*), mStatus=(\d)\}")
_ZONE = re.compile(r"/thermal_zone(\d+)/(type|temp):(.*)$", re.MULTILINE)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DF_HEADER = re.compile(r"^Filesystem\s+(?:1K|1024)-blocks\s", re.MULTILINE)
_DF_ROW = re.compile(r"\s(\d+)\s+\d+\s+(\d+)\s+\d+%\s")

_HOTTEST_C = 150.0
_LEAST_MILLI = 5000
_STATUS = {2: "charging", 3: "discharging", 4: "not charging", 5: "full"}
_HEALTH = {2: "good", 3: "overheat", 4: "dead", 5: "over voltage", 6: "failure", 7: "cold"}


@dataclass(frozen=True)
class Battery:
    """The battery; a text is empty and a number None where the phone does not tell.

    ``sources`` are what feeds the phone: ``ac``, ``usb``, ``wireless``, ``dock``. ``simulated``
    says that somebody stopped the updates by ``cmd battery``: then nothing here is the truth.
    """

    percent: float
    status: str
    health: str
    temperature_c: float | None
    voltage_mv: int | None
    sources: tuple[str, ...]
    simulated: bool


@dataclass(frozen=True)
class Temperature:
    """One sensor; ``severity`` 0 is none, 6 shuts the phone down."""

    name: str
    kind: str
    celsius: float
    severity: int = 0


@dataclass(frozen=True)
class Disk:
    """The file system of a folder."""

    total_bytes: int
    available_bytes: int


def battery(output: str) -> Battery | None:
    """The battery from ``dumpsys battery``; None without a level, or where no battery is there."""
    told: dict[str, str] = {}
    for name, value in _BATTERY_LINE.findall(output):
        # Makers append lines of their own: the first of a name is Android's.
        told.setdefault(name.strip(), value)
    level, scale = _whole(told.get("level")), _whole(told.get("scale"))
    if level is None or not scale or told.get("present") == "false":
        return None
    tenths_c = _whole(told.get("temperature"))
    return Battery(
        percent=100 * level / scale,
        status=_STATUS.get(_whole(told.get("status")) or 0, ""),
        health=_HEALTH.get(_whole(told.get("health")) or 0, ""),
        temperature_c=None if tenths_c is None else tenths_c / 10,
        voltage_mv=_whole(told.get("voltage")),
        sources=tuple(
            source.lower()
            for source in ("AC", "USB", "Wireless", "Dock")
            if told.get(f"{source} powered") == "true"
        ),
        simulated="UPDATES STOPPED" in output,
    )


def thermal_status(output: str) -> int | None:
    """How hard the phone throttles, 0 to 6, from ``dumpsys thermalservice``."""
    match = re.search(r"^Thermal Status: ([0-6])\s*$", output, re.MULTILINE)
    return int(match[1]) if match else None


def temperatures(output: str) -> tuple[Temperature, ...] | None:
    """What the thermal hardware layer says now, from ``dumpsys thermalservice``.

    ``None`` where that layer is not ready or says nothing: then ask the kernel's zones. The
    cached values before it may be minutes old.
    """
    if re.search(r"^HAL Ready: false", output, re.MULTILINE):
        return None
    _, header, section = output.partition("Current temperatures from HAL:")
    if not header:
        return None
    found = []
    for line in section.strip().splitlines():
        match = _TEMPERATURE.fullmatch(line.strip())
        if match is None:
            break
        celsius, kind = _decimal(match[1]), int(match[2])
        if celsius is not None and kind not in _NOT_TEMPERATURES:
            found.append(Temperature(match[3], _KINDS.get(kind, ""), celsius, int(match[4])))
    return tuple(found) or None


def zones(output: str) -> tuple[Temperature, ...]:
    """The kernel's thermal zones from ``ZONES_COMMAND``; ``kind`` is empty, the names are free."""
    told: dict[int, dict[str, str]] = {}
    for number, field, value in _ZONE.findall(output):
        told.setdefault(int(number), {})[field] = value.strip()
    found = []
    for _, zone in sorted(told.items()):
        name, raw = zone.get("type", ""), _whole(zone.get("temp"))
        celsius = None if raw is None else zone_celsius(raw)
        if name and celsius is not None and not _OTHER_ZONE.search(name):
            found.append(Temperature(name, "", celsius))
    return tuple(found)


def zone_celsius(raw: int) -> float | None:
    """A zone's value in °C, whichever of °C, 0.1 °C and m°C its driver counts in.

    The ranges do not overlap between 15 and 150 °C. A sleeping sensor reports 0, -40000 or
    -274000: nothing at or below zero is believed, nor what lies between the ranges.
    """
    if raw >= _LEAST_MILLI:
        celsius = raw / 1000
    elif raw > _HOTTEST_C:
        celsius = raw / 10
    else:
        celsius = float(raw)
    return celsius if 0 < celsius <= _HOTTEST_C else None


def boot_id(output: str) -> str | None:
    """The random name of this run of the kernel; another one means that the phone restarted."""
    text = output.strip()
    return text if _UUID.fullmatch(text) else None


def disk(output: str) -> Disk | None:
    """The file system from ``df -k FOLDER``."""
    header = _DF_HEADER.search(output)
    row = _DF_ROW.search(output, header.end()) if header else None
    return Disk(int(row[1]) * 1024, int(row[2]) * 1024) if row else None


def context(
    charge: Battery | None, sensors: tuple[Temperature, ...], throttling: int | None
) -> Mapping[str, str]:
    """The readings as facts beside a measurement; what is absent is left out."""
    facts = {f"temperature_{each.name}_c": f"{each.celsius:.1f}" for each in sensors}
    if charge is not None:
        facts["battery"] = f"{charge.status or 'unknown'} {charge.percent:.0f} %"
        if charge.temperature_c is not None:
            facts["battery_c"] = f"{charge.temperature_c:.1f}"
    if throttling is not None:
        facts["thermal_status"] = str(throttling)
    return facts


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"-?\d+", text) else None


def _decimal(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
