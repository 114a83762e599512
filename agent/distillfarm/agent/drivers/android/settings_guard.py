"""Puts a phone's settings into a stated state and back, also after the agent died in between.

What was found is written to a file of the agent's before anything is changed, and the file goes
when everything is back.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adbutils import AdbDevice

from distillfarm.agent.drivers.android import shell
from distillfarm.files import whole

_UNSET = ("", "null")


@dataclass(frozen=True)
class _Setting:
    """One setting: how to read it, what it shall be, and how to write it.

    ``write`` takes the value as ``{value}``; ``clear`` is for a value that was not set.
    """

    read: str
    wanted: str
    write: str
    clear: str = "true"


def _table(name: str, wanted: str) -> _Setting:
    """A row of Android's table of settings; ``name`` is ``NAMESPACE KEY``."""
    return _Setting(
        f"settings get {name}",
        wanted,
        f"settings put {name} {{value}}",
        f"settings delete {name}",
    )


# Awake at one low brightness, so that neither suspend nor the panel's heat comes into a series.
# 7 is every source of power: AC, USB, wireless (BatteryManager.BATTERY_PLUGGED_*).
_ALWAYS: Mapping[str, _Setting] = {
    "stay_awake": _table("global stay_on_while_plugged_in", "7"),
    "screen_timeout_ms": _table("system screen_off_timeout", "2147483647"),
    "brightness_mode": _table("system screen_brightness_mode", "0"),
    "brightness": _table("system screen_brightness", "10"),
    # Doze stops work on a phone that lies still.
    "doze": _Setting(
        "dumpsys deviceidle enabled",
        "0",
        "if [ {value} = 0 ]; then dumpsys deviceidle disable; else dumpsys deviceidle enable; fi",
    ),
}
# Airplane mode ends the link of a phone that is reached over its own radio.
_BY_CABLE: Mapping[str, _Setting] = {
    "airplane_mode": _Setting(
        "settings get global airplane_mode_on",
        "1",
        "if [ {value} = 1 ]; then cmd connectivity airplane-mode enable; "
        "else cmd connectivity airplane-mode disable; fi",
    ),
}
_KNOWN = {**_ALWAYS, **_BY_CABLE}
_VALUE = re.compile(r"[\w.-]{0,40}")
# Each of the commands starts a virtual machine of its own on a phone.
_TIMEOUT_S = 60.0


class SettingsGuard:
    """The settings of one phone; ``by_cable`` where the link does not need the phone's radios.

    ``kept`` is the file that outlives the agent.
    """

    def __init__(self, kept: Path, *, by_cable: bool) -> None:
        self._kept = kept
        self._settings = {**_ALWAYS, **(_BY_CABLE if by_cable else {})}

    def prepare(self, device: AdbDevice) -> None:
        """Keep what is set, then set what a measurement needs, wake the screen, end idle apps.

        A setting that this phone does not have is left alone.

        Raises:
            DeviceOffline, DeviceTimeout: see ``shell.run``; ``restore`` puts back what was done.
        """
        changed = {
            name: value
            for name, value in self._found(device).items()
            if value != self._settings[name].wanted
        }
        if changed:
            self._keep(changed)
        wanted = [
            setting.write.format(value=setting.wanted)
            for name, setting in self._settings.items()
            if name in changed
        ]
        self._run(device, [*wanted, "input keyevent KEYCODE_WAKEUP", "am kill-all"])

    def restore(self, device: AdbDevice) -> None:
        """Put back what was kept, by this agent or one before it; idempotent.

        Raises:
            DeviceOffline, DeviceTimeout: see ``shell.run``; call it again.
        """
        commands = [
            _KNOWN[name].clear if value in _UNSET else _KNOWN[name].write.format(value=value)
            for name, value in self._kept_values().items()
        ]
        if commands:
            self._run(device, commands)
        self._kept.unlink(missing_ok=True)

    def _found(self, device: AdbDevice) -> dict[str, str]:
        """What is set now, by name; what this phone cannot tell is left out."""
        reads = [
            f"v=$({setting.read} 2>/dev/null) && echo {name}=$v"
            for name, setting in self._settings.items()
        ]
        told = shell.run(device, "; ".join(reads), _TIMEOUT_S)
        found = dict(line.partition("=")[::2] for line in told.text.splitlines() if "=" in line)
        return {
            name: value.strip()
            for name, value in found.items()
            if name in self._settings and _VALUE.fullmatch(value.strip())
        }

    @staticmethod
    def _run(device: AdbDevice, commands: Sequence[str]) -> None:
        """All in one go; one that this phone does not know keeps none of the others away."""
        shell.run(device, "; ".join(commands), _TIMEOUT_S)

    def _keep(self, values: Mapping[str, str]) -> None:
        """Write the file; what an agent before kept is older, thus the truth."""
        whole.write(self._kept, json.dumps({**values, **self._kept_values()}).encode())

    def _kept_values(self) -> dict[str, str]:
        """What the file holds; nothing of it reaches a shell that is not a plain value."""
        try:
            told = json.loads(self._kept.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return {
            name: value
            for name, value in told.items()
            if name in _KNOWN and _VALUE.fullmatch(str(value))
        }
