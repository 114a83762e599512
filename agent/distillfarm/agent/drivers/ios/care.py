"""Whether an iPhone is fit for work."""

from distillfarm.agent.drivers.ios.state import State
from distillfarm.domain.hardware import DeviceHealth

# Far above the gate, for which a phone just waits: such a phone does not cool down by itself.
HOTTEST_C = 48.0
EMPTIEST_PERCENT = 5.0


def trouble(state: State) -> str:
    """Why a phone in this state is not fit for work, with the remedy; empty when it is fit."""
    phone = state.phone
    if phone.battery_c is not None and phone.battery_c >= HOTTEST_C:
        return f"battery at {phone.battery_c:.1f} °C: take it off its cable, look for swelling"
    if phone.battery_percent is not None and phone.battery_percent < EMPTIEST_PERCENT:
        return f"its battery is at {phone.battery_percent:.0f} %: look at cable and hub"
    return ""


def health(serial: str, state: State, now_s: float) -> DeviceHealth:
    """The state in the farm's words; ``now_s`` is Unix time."""
    return DeviceHealth(
        serial=serial,
        seen_at_s=now_s,
        battery_percent=state.phone.battery_percent,
        battery=state.battery,
        temperature_c=state.phone.battery_c,
        throttling=state.throttling,
        trouble=trouble(state),
    )
