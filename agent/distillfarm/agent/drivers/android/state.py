"""How a phone fares now, in one round trip: battery, heat, screen, radios, load."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from distillfarm.agent.drivers.android import readings
from distillfarm.agent.drivers.android.readings import Battery, Temperature

UNREADABLE = "unreadable"
RADIOS_ON = "radios on"
_LOOK_S = 0.3
# Between the two looks lies more than the sleep: starting a program takes its time.
_LOAD = "cat /proc/uptime; head -n 1 /proc/stat"
# The sections of one output, in the order of the commands.
_MARK = "==distillfarm=="
_COMMANDS = (
    readings.BATTERY_COMMAND,
    readings.THERMAL_COMMAND,
    readings.ZONES_COMMAND,
    "dumpsys power | grep -m 1 mWakefulness=",
    "settings get global airplane_mode_on; settings get global wifi_on",
    f"{_LOAD}; sleep {_LOOK_S}; {_LOAD}",
    readings.BOOT_COMMAND,
    "cat /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq "
    "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor "
    "/proc/self/status /proc/self/cpuset",
)
COMMAND = f"; echo {_MARK}; ".join(f"{{ {each}; }} 2>/dev/null" for each in _COMMANDS)
# Kinds that tell how hot the whole phone is, the best first.
_BODY = ("skin", "battery")
_TICKS_PER_S = 100
# Of /proc/stat's first line: user nice system idle iowait irq softirq steal.
_IDLE = (3, 4)


@dataclass(frozen=True)
class State:
    """One look at a phone; what it does not tell is None or empty.

    ``busy_cores`` is how many cores worked while nothing of ours ran. ``awake`` is the screen's
    state. ``radios`` says which are on. ``affinity`` are the cores on which programs of ours may
    run, and their cpuset, in which Android puts what it wants to slow down.
    """

    battery: Battery | None
    sensors: tuple[Temperature, ...]
    throttling: int | None
    awake: bool | None
    radios: str
    busy_cores: float | None
    boot_id: str | None
    clocks_khz: tuple[int, ...]
    governors: tuple[str, ...] = ()
    affinity: str = ""

    @property
    def body_c(self) -> float | None:
        """The temperature of the phone's body, °C; the battery's where no sensor is at the skin."""
        for kind in _BODY:
            found = [each.celsius for each in self.sensors if each.kind == kind]
            if found:
                return max(found)
        return self.battery.temperature_c if self.battery else None

    def context(self) -> Mapping[str, str]:
        """The facts that stand beside a measurement."""
        body_c = self.body_c
        return {
            **readings.context(self.battery, self.sensors, self.throttling),
            "temperature_c": UNREADABLE if body_c is None else f"{body_c:.1f}",
            "screen": {True: "awake", False: "asleep", None: UNREADABLE}[self.awake],
            "radios": self.radios or UNREADABLE,
            "busy_cores": UNREADABLE if self.busy_cores is None else f"{self.busy_cores:.1f}",
            "boot_id": self.boot_id or UNREADABLE,
            "cpu_mhz": " ".join(f"{khz / 1000:.0f}" for khz in self.clocks_khz) or UNREADABLE,
            "cpu_governor": " ".join(sorted(set(self.governors))) or UNREADABLE,
            "affinity": self.affinity or UNREADABLE,
            "power": "fed by " + ", ".join(self.battery.sources)
            if self.battery and self.battery.sources
            else "from the battery"
            if self.battery
            else UNREADABLE,
        }


def parse(output: str) -> State:
    """The state from the output of ``COMMAND``."""
    sections = [part.strip("\n") for part in output.split(_MARK)]
    battery, thermal, zones, power, radios, load, boot, cores = [*sections, *[""] * 8][:8]
    wakefulness = re.search(r"mWakefulness=(\w+)", power)
    return State(
        battery=readings.battery(battery),
        sensors=readings.temperatures(thermal) or readings.zones(zones),
        throttling=readings.thermal_status(thermal),
        awake=None if wakefulness is None else wakefulness[1] == "Awake",
        radios=_radios(radios),
        busy_cores=busy_cores(load),
        boot_id=readings.boot_id(boot),
        clocks_khz=tuple(int(line) for line in cores.splitlines() if line.isdecimal()),
        governors=tuple(re.findall(r"^[a-z_]+$", cores, re.MULTILINE)),
        affinity=_affinity(cores),
    )


def busy_cores(output: str) -> float | None:
    """How many cores worked between two looks at /proc/uptime and the first line of /proc/stat."""
    uptimes = [float(each) for each in re.findall(r"^(\d+\.\d+) \d+\.\d+$", output, re.M)]
    looks = [
        [int(each) for each in found.split()]
        for found in re.findall(r"^cpu +([\d ]+)$", output, re.M)
    ]
    if len(looks) != 2 or len(uptimes) != 2 or uptimes[1] <= uptimes[0]:  # noqa: PLR2004
        return None
    ticks: list[int] = [later - earlier for earlier, later in zip(*looks, strict=True)][:8]
    busy = sum(count for index, count in enumerate(ticks) if index not in _IDLE)
    return max(0.0, busy / _TICKS_PER_S / (uptimes[1] - uptimes[0]))


def _affinity(output: str) -> str:
    """The cores, and the cpuset where the kernel has them, of a program of ours."""
    cores = re.search(r"^Cpus_allowed_list:\s*(\S+)", output, re.MULTILINE)
    cpuset = re.search(r"^/\S*\s*\Z", output, re.MULTILINE)
    told = f"{cores[1]}" if cores else ""
    return f"{told} in cpuset {cpuset[0].strip()}" if told and cpuset else told


def _radios(output: str) -> str:
    airplane, wifi = [*output.split(), "", ""][:2]
    if airplane not in ("0", "1"):
        return ""
    return ("airplane mode" if airplane == "1" else RADIOS_ON) + (
        ", Wi-Fi on" if wifi not in ("", "0", "null") else ""
    )
