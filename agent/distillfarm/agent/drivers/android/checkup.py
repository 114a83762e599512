"""Walks from "nothing is listed" to a working phone: what is wrong, and what to do about it."""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from adbutils import AdbClient

from distillfarm.agent.drivers.android import care, commands, faults, link, readings, shell, state
from distillfarm.agent.drivers.android.apps import RUNNER
from distillfarm.agent.drivers.android.gates import LEAST_PERCENT, WARMEST_C
from distillfarm.agent.drivers.android.source import charge_history
from distillfarm.agent.drivers.android.usb import UsbPhone, usb_phones
from distillfarm.agent.drivers.fault import PhoneFault
from distillfarm.agent.drivers.finding import Finding, Grade
from distillfarm.agent.phone_runtimes import Flavour, RuntimeStore, catalog
from distillfarm.agent.settings import AgentSettings
from distillfarm.domain.errors import DeviceOffline, DeviceTimeout, DigestMismatch

_FOLDER = "/data/local/tmp"
_LITTLE_BYTES, _NO_BYTES = 2**30, 2**28
_DAY_S = 86400.0
_RUNTIMES = ("onnxruntime", "litert")


def checkup(settings: AgentSettings) -> Iterator[Finding]:
    """Look at adb, its server, what hangs on USB, and each phone; blocks, a few seconds a phone.

    Changes nothing on a phone and starts nothing here.
    """
    program = shutil.which("adb")
    if program is None:
        yield Finding(
            "adb",
            Grade.POOR if not usb_phones() else Grade.BAD,
            "not installed; only needed for Android phones",
            "on Debian: apt install adb android-sdk-platform-tools-common",
        )
        if not shell.listens("127.0.0.1", settings.adb_port):
            return
    else:
        yield Finding("adb", Grade.GOOD, program)
    if not shell.listens("127.0.0.1", settings.adb_port):
        yield Finding(
            "adb server",
            Grade.POOR,
            f"none listens on port {settings.adb_port}, so no phone is seen",
            f"start the agent, which starts one, or run `adb -P {settings.adb_port} start-server`",
        )
        return
    client = shell.adb_client(port=settings.adb_port)
    try:
        listed = link.states(client)
    except PhoneFault as error:
        yield Finding("adb server", Grade.BAD, str(error), error.fault.remedy)
        return
    yield Finding(
        "adb server", Grade.GOOD, f"port {settings.adb_port}, phones listed: {len(listed)}"
    )
    yield _key()
    yield from unlisted(usb_phones(), listed)
    for address in settings.adb_addresses:
        if address not in listed:
            yield Finding(
                f"phone {address}",
                Grade.BAD,
                "in the setting adb_addresses, but not connected",
                f"the agent connects it; by hand `adb -P {settings.adb_port} connect {address}`. "
                f"Where that fails, {faults.UNREACHABLE.remedy}",
            )
    store = RuntimeStore(settings.runtimes)
    for serial, listed_as in sorted(listed.items()):
        yield from _phone(client, serial, listed_as, settings, store)


def unlisted(
    present: Sequence[UsbPhone], listed: Sequence[str] | dict[str, str]
) -> Iterator[Finding]:
    """What hangs on USB without being listed by adb, and what is listed but badly connected."""
    if not present and not listed:
        yield Finding(
            "phones",
            Grade.POOR,
            "none is listed, and none is seen on USB",
            "plug one in by a cable that carries data; on the phone tap its build number seven "
            "times, then turn on USB debugging in the developer options",
        )
    for phone in present:
        subject = f"USB port {phone.port}"
        if not phone.debugging:
            yield Finding(
                subject,
                Grade.BAD,
                f"{phone.name} offers files but no debugging",
                "turn on USB debugging in its developer options (tap the build number seven times)",
            )
        elif phone.serial and phone.serial not in listed:
            yield Finding(
                subject,
                Grade.BAD,
                f"{phone.name} offers debugging, but adb does not list it",
                "run `adb kill-server && adb start-server`; then unplug it and plug it in again",
            )
        if phone.slow:
            yield Finding(
                subject,
                Grade.POOR,
                f"{phone.name} is connected at {phone.mbit:g} Mbit/s",
                "use another cable or a hub of USB 2 or newer, with a supply of its own",
            )


def fitness(
    subject: str, now: state.State, full_since_s: float | None, now_s: float
) -> Iterator[Finding]:
    """What a look at a phone says of its battery and temperature; ``now_s`` is Unix time."""
    if ill := care.trouble(now):
        yield Finding(subject, Grade.BAD, ill)
        return
    battery, body_c = now.battery, now.body_c
    if battery is not None and battery.percent < LEAST_PERCENT:
        yield Finding(
            subject,
            Grade.POOR,
            f"battery at {battery.percent:.0f} %: below {LEAST_PERCENT:g} it gets no work",
            "" if battery.sources else "charge it: nothing feeds it now",
        )
    if body_c is not None and body_c > WARMEST_C:
        yield Finding(
            subject,
            Grade.POOR,
            f"{body_c:.1f} °C: above {WARMEST_C:g} it gets no work",
            "it is waited for; a phone that stays warm needs air, or charges too fast",
        )
    if swelling := care.too_long_full(full_since_s, now_s, lambda s: f"{s / _DAY_S:.0f} days"):
        yield Finding(subject, Grade.POOR, swelling)


def _phone(
    client: AdbClient, serial: str, listed_as: str, settings: AgentSettings, store: RuntimeStore
) -> Iterator[Finding]:
    subject = f"phone {serial}"
    fault = faults.classify_state(listed_as) or link.diagnose(client, serial)
    if fault is not None:
        yield Finding(subject, Grade.BAD, fault.name, fault.remedy)
        return
    device = client.device(serial)
    try:
        info = commands.identify(device)
        flavour = commands.flavour(device)
        now = state.parse(shell.run(device, state.COMMAND, timeout_s=20.0).text)
        disk = readings.disk(shell.run(device, f"df -k {_FOLDER}").text)
    except (DeviceOffline, DeviceTimeout) as error:
        yield Finding(subject, Grade.BAD, str(error))
        return
    emulated = ", emulated" if info.emulated else ""
    told = f"{info.model}, {info.chipset}, {info.os_name}, programs {flavour}{emulated}"
    yield Finding(subject, Grade.GOOD, told)
    yield from _room(subject, disk)
    history = charge_history(settings, serial)
    yield from fitness(subject, now, history.full_since_s(), time.time())
    yield from _programs(subject, flavour, store)


def _room(subject: str, disk: readings.Disk | None) -> Iterator[Finding]:
    if disk is None or disk.available_bytes >= _LITTLE_BYTES:
        return
    grade = Grade.POOR if disk.available_bytes >= _NO_BYTES else Grade.BAD
    text = f"{disk.available_bytes / 2**20:.0f} MiB free on {_FOLDER}"
    yield Finding(subject, grade, text, faults.DISK_FULL.remedy)


def _programs(subject: str, flavour: str, store: RuntimeStore) -> Iterator[Finding]:
    if flavour not in list(Flavour):
        known = ", ".join(Flavour)
        yield Finding(subject, Grade.BAD, f"runs {flavour}", f"there are programs for {known}")
        return
    for name in (RUNNER, *_RUNTIMES):
        try:
            found = store.find(name, Flavour(flavour))
        except DigestMismatch as error:
            yield Finding(subject, Grade.BAD, str(error))
            continue
        if found is None:
            yield Finding(
                subject,
                Grade.BAD if name == RUNNER else Grade.POOR,
                f"no {name} for {flavour} is kept in {store.folder}",
                catalog.build(name, flavour).remedy,
            )


def _key() -> Finding:
    """Whether the key that phones were told to trust will be there tomorrow."""
    named = [Path(each) for each in os.environ.get("ADB_VENDOR_KEYS", "").split(":") if each]
    places = [*named, Path.home() / ".android" / "adbkey"]
    found = next((each for each in places if each.exists()), None)
    if found is not None:
        return Finding("adb key", Grade.GOOD, str(found))
    return Finding(
        "adb key",
        Grade.POOR,
        "this computer has none yet that a phone could have been told to trust",
        "keep one in a folder that lasts and name it in ADB_VENDOR_KEYS: adb keygen FILE",
    )
