"""Whether a phone is fit for work, and what becomes of a battery that is always full."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from distillfarm.agent.drivers.android.state import State
from distillfarm.domain.hardware import DeviceHealth
from distillfarm.files import whole

# Far above the gate, for which a phone just waits: such a phone does not cool down by itself.
HOTTEST_C = 48.0
EMPTIEST_PERCENT = 5.0
# Cells held at their highest voltage age and swell, faster when warm: after two weeks an operator
# should know. Battery University BU-808, "How to Prolong Lithium-based Batteries".
FULL_PERCENT = 95.0
FULL_FOR_S = 14 * 86400.0
_ILL = ("dead", "overheat", "over voltage", "failure")


def trouble(state: State) -> str:
    """Why a phone in this state is not fit for work, with the remedy; empty when it is fit."""
    battery, body_c = state.battery, state.body_c
    if battery is not None and battery.health in _ILL:
        return f"its battery reports {battery.health!r}: unplug it, look for swelling, replace it"
    if battery is not None and battery.simulated:
        return "somebody fakes its battery: run `adb shell cmd battery reset`"
    if body_c is not None and body_c >= HOTTEST_C:
        return (
            f"{body_c:.1f} °C, more than {HOTTEST_C:g}: give it air, look for an app that runs wild"
        )
    if battery is not None and battery.percent < EMPTIEST_PERCENT:
        return f"its battery is at {battery.percent:.0f} %: charge it, look at cable and port"
    return ""


def health(serial: str, state: State, now_s: float) -> DeviceHealth:
    """The state in the farm's words; ``now_s`` is Unix time."""
    battery = state.battery
    words = []
    if battery is not None:
        words = [battery.status or "unknown", *(f"by {source}" for source in battery.sources)]
    return DeviceHealth(
        serial=serial,
        seen_at_s=now_s,
        battery_percent=battery.percent if battery else None,
        battery=" ".join(words),
        temperature_c=state.body_c,
        throttling=state.throttling,
        trouble=trouble(state),
    )


@dataclass(frozen=True)
class ChargeHistory:
    """Since when a phone's battery has been full; in a file that outlives the agent."""

    path: Path

    def note(self, state: State, now_s: float) -> None:
        """Take a look into account; ``now_s`` is Unix time."""
        battery = state.battery
        full = battery is not None and battery.percent >= FULL_PERCENT and bool(battery.sources)
        if full == (self.full_since_s() is not None):
            return
        if not full:
            self.path.unlink(missing_ok=True)
            return
        whole.write(self.path, json.dumps({"full_since_s": now_s}).encode())

    def full_since_s(self) -> float | None:
        """Unix time since which it has been full; None when it is not."""
        try:
            return float(json.loads(self.path.read_text())["full_since_s"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None


def too_long_full(since_s: float | None, now_s: float, days: Callable[[float], str]) -> str:
    """What to do about a battery that has been full for long; empty when it has not.

    ``days`` puts seconds into words.
    """
    if since_s is None or now_s - since_s < FULL_FOR_S:
        return ""
    return (
        f"its battery has been full for {days(now_s - since_s)}, which makes it swell: limit the "
        "charge in the phone's settings, or switch its port by a timer"
    )
