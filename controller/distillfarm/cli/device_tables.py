"""How devices are shown in a terminal: as a list, and one with everything known of it."""

import time
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType

from distillfarm.cli import formats
from distillfarm.cli.console import row, table
from distillfarm.domain.hardware import Device, DeviceHealth, DeviceInfo, DeviceStatus
from distillfarm.profiles.catalog import shipped

_STYLES = {
    DeviceStatus.QUARANTINED: "red",
    DeviceStatus.DRAINED: "yellow",
    DeviceStatus.OFFLINE: "dim",
}
_STALE_S = 600.0


def device_list(devices: Sequence[Device]) -> RenderableType:
    """One row a device."""
    made = table(
        "", "id", "name", "status", "battery", "temperature", "platform", "model", "chipset",
        "system", "runs", "labels",
    )  # fmt: skip
    for device in devices:
        info = device.info
        row(
            made,
            device.device_id,
            device.name,
            _status(device),
            _aged(formats.battery(device.health), device.health),
            _aged(formats.temperature(device.health), device.health),
            _platform(info),
            info.model,
            str(info.chipset),
            info.os_name,
            ", ".join(str(each.target) for each in info.runtimes if each.works) or "nothing",
            ", ".join(device.labels),
            style=_STYLES.get(device.status, ""),
        )
    return made


def device_details(device: Device) -> RenderableType:
    """Everything known of one device, and what runs on it or why not."""
    made = table("", "", "")
    made.show_header = False
    for name, value in (*_identity(device), *_hardware(device.info), *_health(device.health)):
        row(made, name, value)
    runtimes = table("Runtimes", "target", "version", "works")
    for each in device.info.runtimes:
        works = "yes" if each.works else f"no: {each.refusal}"
        row(runtimes, str(each.target), each.version, works)
    quirks = shipped().quirks(device.info)
    if not quirks:
        return Group(made, "", runtimes)
    known = table("Known of such devices", "affects", "what", "source")
    for quirk in quirks:
        row(known, ", ".join(quirk.affects), quirk.text, quirk.source)
    return Group(made, "", runtimes, "", known)


def _identity(device: Device) -> Iterator[tuple[str, str]]:
    info = device.info
    yield "id", device.device_id
    yield "name", device.name or "none"
    yield "serial", info.serial
    yield "agent", device.agent_id
    yield "status", _status(device)
    yield "last seen", formats.moment(device.last_seen_s)
    yield "labels", ", ".join(device.labels) or "none"
    yield "platform", _platform(info)
    yield "model", info.model
    if info.codename:
        yield "codename", info.codename
    phone, chipset = shipped().phone(info), shipped().chipset(info)
    yield "profile", f"{phone or 'no phone'}, {chipset or 'no chipset'}"
    yield "system", f"{info.os_name}, build {info.os_build}"


def _hardware(info: DeviceInfo) -> Iterator[tuple[str, str]]:
    yield "chipset", str(info.chipset)
    if info.board:
        yield "board", info.board
    yield "cores", str(info.cores)
    for cluster in info.clusters:
        numbers = ", ".join(map(str, cluster.cores))
        yield "cluster", f"{cluster}, mask {cluster.mask}, cores {numbers}"
    yield "memory", formats.byte_count(info.memory_bytes)
    if info.gpu is not None:
        driver = info.gpu.driver or "not told"
        yield "GPU", f"{info.gpu.vendor} {info.gpu.name}".strip() + f", driver {driver}"
    if info.npu_libraries:
        yield "NPU libraries", ", ".join(info.npu_libraries)


def _health(health: DeviceHealth | None) -> Iterator[tuple[str, str]]:
    if health is None:
        return
    yield "battery", formats.battery(health) or "not told"
    yield "temperature", formats.temperature(health) or "not told"
    yield "health", health.trouble or "fit for work"
    yield "told at", formats.moment(health.seen_at_s)


def _status(device: Device) -> str:
    return f"{device.status.value}{f': {device.note}' if device.note else ''}"


def _platform(info: DeviceInfo) -> str:
    return info.platform.value + (" (emulated)" if info.emulated else "")


def _aged(reading: str, health: DeviceHealth | None) -> str:
    """A reading that is no longer of now says so."""
    if not reading or health is None:
        return reading
    age_s = time.time() - health.seen_at_s
    return f"{reading} ({formats.duration(age_s)} ago)" if age_s > _STALE_S else reading
