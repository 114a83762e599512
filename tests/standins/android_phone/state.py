"""What a phone tells of itself and its maker can change: files that its commands answer from.

They lie in a folder of this computer that the phone sees, so a test changes them while it runs.
"""

import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from android_phone import outputs
from android_phone.identities import Identity, listed, recording

_COMMANDS = Path(__file__).parent / "commands"
_SHELL_USER = 2000
_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "global": {"airplane_mode_on": "0", "stay_on_while_plugged_in": "0", "wifi_on": "1"},
    "secure": {},
    "system": {
        "screen_brightness": "102",
        "screen_brightness_mode": "1",
        "screen_off_timeout": "60000",
    },
}


class State:
    """One phone's files below ``folder``.

    ``told`` is /standin in the phone, ``sys`` its /sys, ``proc`` holds files that are laid over
    those of the kernel.
    """

    def __init__(self, folder: Path, identity: Identity) -> None:
        self.told, self.sys, self.proc = (folder / each for each in ("standin", "sys", "proc"))
        self._identity = identity

    def reset(self) -> None:
        """Write everything as the recordings have it; a phone that runs keeps its boot id."""
        identity, dumps = self._identity, self.told / "dumpsys"
        shutil.copytree(_COMMANDS, self.told / "bin", dirs_exist_ok=True)
        _write(self.told / "properties", outputs.getprop(identity.properties()))
        for service, name in (
            ("battery", identity.battery),
            ("thermalservice", identity.thermal),
            ("SurfaceFlinger", identity.gpu),
            ("powerstats", identity.rails),
        ):
            if name is not None:
                _write(dumps / service, recording(name))
        if identity.current_now_ua is not None:
            _write(self.told / "battery" / "current_now", f"{identity.current_now_ua}\n")
        self._create_settings()
        for path, text in outputs.processor_files(identity).items():
            _write(self.sys / "devices/system/cpu" / path, text)
        for number, zone in enumerate(identity.zones):
            _write(self._zone(number) / "type", f"{zone.kind}\n")
            _write(self._zone(number) / "temp", f"{zone.celsius * zone.scale:.0f}\n")

    def boot(self) -> None:
        """Write what is the kernel's, for a new run of it."""
        _write(self.proc / "cpuinfo", outputs.cpuinfo(self._identity))
        _write(self.proc / "meminfo", outputs.meminfo(self._identity))
        _write(self.proc / "stat", outputs.processor_time(self._identity, 0.0))
        _write(self.proc / "boot_id", f"{uuid.uuid4()}\n")
        self.set_screen(awake=False)

    def set_temperature(self, celsius: float) -> None:
        """Warm or cool the whole phone: every sensor, the battery, every zone."""
        self._change("thermalservice", lambda text: outputs.with_temperature(text, celsius))
        self._set_battery("temperature", round(celsius * 10))
        for number, zone in enumerate(self._identity.zones):
            _write(self._zone(number) / "temp", f"{celsius * zone.scale:.0f}\n")

    def set_throttling(self, status: int) -> None:
        """Android's thermal status: 0 is none, 6 shuts down."""
        self._change("thermalservice", lambda text: outputs.with_throttling(text, status))

    def set_battery(self, percent: int) -> None:
        """The battery's charge."""
        self._set_battery("level", percent)

    def plug(self) -> None:
        """Feed the phone by USB: it charges."""
        self._set_battery("USB powered", "true")
        self._set_battery("status", 2)

    def unplug(self) -> None:
        """Take every supply away: it discharges."""
        for source in ("AC", "USB", "Wireless"):
            self._set_battery(f"{source} powered", "false")
        self._set_battery("status", 3)

    def set_screen(self, awake: bool) -> None:
        """Wake the screen, or have it sleep."""
        _write(self.told / "changed" / "wakefulness", "Awake\n" if awake else "Asleep\n")

    def set_property(self, name: str, value: str) -> None:
        """A property of ``getprop``, such as the build's fingerprint."""
        file = self.told / "properties"
        _write(file, outputs.getprop(listed(file.read_text()) | {name: value}))

    def setting(self, namespace: str, key: str) -> str | None:
        """What a table of settings holds, as ``settings get`` tells it; None for nothing."""
        file = self.told / "changed" / "settings" / namespace / key
        return file.read_text().strip() if file.exists() else None

    def set_busy(self, busy_core_s: float) -> None:
        """How long cores were busy since the start, in sum."""
        text = outputs.processor_time(self._identity, busy_core_s)
        # In place and of one length: a reader sees the old or the new.
        with (self.proc / "stat").open("r+") as file:
            file.write(text)

    def _create_settings(self) -> None:
        changed = self.told / "changed"
        shutil.rmtree(changed, ignore_errors=True)
        for namespace, table in _SETTINGS.items():
            (changed / "settings" / namespace).mkdir(parents=True)
            for key, value in table.items():
                _write(changed / "settings" / namespace / key, f"{value}\n")
        _write(changed / "doze", "1\n")
        _write(changed / "wakefulness", "Asleep\n")
        for path in (changed, *changed.rglob("*")):
            os.chown(path, _SHELL_USER, _SHELL_USER)

    def _set_battery(self, name: str, value: object) -> None:
        self._change("battery", lambda text: outputs.with_battery(text, name, value))

    def _change(self, service: str, change: outputs.Change) -> None:
        file = self.told / "dumpsys" / service
        if file.exists():
            _write(file, change(file.read_text()))

    def _zone(self, number: int) -> Path:
        return self.sys / "class/thermal" / f"thermal_zone{number}"


def _write(path: Path, text: str) -> None:
    """Whole or not at all, for the phone may be reading it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(text)
    if path.exists():
        os.chown(partial, path.stat().st_uid, path.stat().st_gid)
    partial.replace(path)
