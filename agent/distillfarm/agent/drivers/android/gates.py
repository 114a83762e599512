"""When a phone may be measured: cool, charged, awake and with nothing else to do."""

from collections.abc import Awaitable, Callable

from distillfarm.agent.drivers.android.state import RADIOS_ON, State
from distillfarm.agent.protocols import DeviceDriver, Gate

Look = Callable[[float], Awaitable[State]]
"""Gives the phone's state, not older than so many seconds."""

# Below the heat at which phones begin to slow down; the skin sensor's first level is 39 to 43 °C.
WARMEST_C = 38.0
LEAST_PERCENT = 20.0
MOST_BUSY_CORES = 1.0
# All gates of one turn judge one look, for each is a round trip and work on the phone; the next
# turn is further away.
_MOMENT_S = 0.4


class _StateGate:
    """A gate that judges one look at the phone."""

    def __init__(
        self, name: str, look: Look, judge: Callable[[State], str | None], *, required: bool = False
    ) -> None:
        self.name, self.required = name, required
        self._look = look
        self._judge = judge

    async def closed(self, driver: DeviceDriver) -> str | None:
        """See ``protocols.Gate``."""
        del driver
        return self._judge(await self._look(_MOMENT_S))


def gates(look: Look, *, by_cable: bool) -> tuple[Gate, ...]:
    """All gates of one phone; a hot, slowed down or empty one is no phone to measure on.

    ``by_cable`` is whether its radios are to be off, which a phone on the network needs.
    """
    radios = (_StateGate("radios", look, radiating),) if by_cable else ()
    return (
        _StateGate("temperature", look, hot, required=True),
        _StateGate("throttling", look, throttled, required=True),
        _StateGate("battery", look, empty, required=True),
        _StateGate("screen", look, asleep),
        _StateGate("quiet", look, busy),
        *radios,
    )


def hot(state: State) -> str | None:
    """Too warm; a temperature that cannot be read stands in the context as unreadable."""
    if state.body_c is None or state.body_c <= WARMEST_C:
        return None
    return f"{state.body_c:.1f} °C, limit {WARMEST_C:g}"


def throttled(state: State) -> str | None:
    """Slowed down by Android."""
    return f"thermal status {state.throttling}" if state.throttling else None


def empty(state: State) -> str | None:
    """Too little charge: Android saves power then."""
    if state.battery is None or state.battery.percent >= LEAST_PERCENT:
        return None
    return f"battery at {state.battery.percent:.0f} %, need {LEAST_PERCENT:g}"


def asleep(state: State) -> str | None:
    """The screen was woken before, and sleeps again: clocks are low."""
    return "the screen sleeps" if state.awake is False else None


def busy(state: State) -> str | None:
    """Other work on the phone."""
    if state.busy_cores is None or state.busy_cores <= MOST_BUSY_CORES:
        return None
    return f"other work keeps {state.busy_cores:.1f} cores busy, limit {MOST_BUSY_CORES:g}"


def radiating(state: State) -> str | None:
    """Airplane mode was turned on before, and is off: radios take power and heat the phone."""
    return "its radios are on" if state.radios.startswith(RADIOS_ON) else None
