"""When an iPhone may be measured: cool, charged, unlocked and not saving power."""

from collections.abc import Awaitable, Callable

from distillfarm.agent.drivers.ios.job_files import Thermal
from distillfarm.agent.drivers.ios.state import State
from distillfarm.agent.protocols import DeviceDriver, Gate

Look = Callable[[], Awaitable[State]]
"""Gives the phone's state, with what the app was told a moment ago."""

# Apple wants batteries below 35 °C around them and slows charging above; cells are a little warmer.
# https://support.apple.com/118431
WARMEST_C = 38.0
LEAST_PERCENT = 20.0


class _StateGate:
    """A gate that judges one look at the phone."""

    required = True

    def __init__(self, name: str, look: Look, judge: Callable[[State], str | None]) -> None:
        self.name = name
        self._look = look
        self._judge = judge

    async def closed(self, driver: DeviceDriver) -> str | None:
        """See ``protocols.Gate``."""
        del driver
        return self._judge(await self._look())


def gates(look: Look) -> tuple[Gate, ...]:
    """All gates of one phone."""
    return (
        _StateGate("throttling", look, throttled),
        _StateGate("temperature", look, hot),
        _StateGate("battery", look, empty),
        _StateGate("lock", look, locked),
        _StateGate("low_power_mode", look, saving),
    )


def throttled(state: State) -> str | None:
    """Slowed down by iOS, or about to be."""
    if state.app is None or state.app.thermal is Thermal.NOMINAL:
        return None
    return f"thermal state {state.app.thermal.value}"


def hot(state: State) -> str | None:
    """Too warm a battery; of its chip an iPhone tells no temperature."""
    warm_c = state.phone.battery_c
    if warm_c is None or warm_c <= WARMEST_C:
        return None
    return f"battery at {warm_c:.1f} °C, limit {WARMEST_C:g}"


def empty(state: State) -> str | None:
    """Too little charge: iOS asks for Low Power Mode at 20 %."""
    percent = state.phone.battery_percent
    if percent is None or percent >= LEAST_PERCENT:
        return None
    return f"battery at {percent:.0f} %, need {LEAST_PERCENT:g}"


def locked(state: State) -> str | None:
    """Nothing can be launched then."""
    return "it is locked" if state.phone.locked else None


def saving(state: State) -> str | None:
    """Clocks are lower then."""
    return "it is in low power mode" if state.app and state.app.low_power_mode else None
