"""The drivers and runners that are installed, found by their entry points."""

from collections.abc import AsyncIterator, Sequence
from importlib.metadata import entry_points
from typing import Protocol, cast

from distillfarm.agent.protocols import DeviceDriver, EnergyMeter, Gate, Runner
from distillfarm.domain.errors import MissingExtra
from distillfarm.domain.hardware import Runtime


class DriverPlugin(Protocol):
    """One kind of device: how it is discovered, driven, gated and metered."""

    def attached(self) -> AsyncIterator[Sequence[str]]:
        """The serials that are attached now, again whenever that changes; never ends."""

    def open(self, serial: str) -> DeviceDriver:
        """A driver for one device, not yet entered."""

    def gates(self) -> Sequence[Gate]:
        """What must hold before every launch."""

    def energy(self) -> EnergyMeter:
        """The instrument that watches a job, or one that says why there is none."""


def driver_plugins() -> list[DriverPlugin]:
    """Every installed driver plug-in whose own dependencies are there."""
    return [cast(DriverPlugin, each) for each in _load("distillfarm.drivers").values()]


def runner(runtime: Runtime) -> Runner:
    """The runner of a runtime.

    Raises:
        MissingExtra: none is installed.
    """
    runners = _load("distillfarm.runners")
    if runtime.value not in runners:
        raise MissingExtra(
            f"this agent has no runner for {runtime.value}, only {', '.join(sorted(runners))}; "
            "install the plug-in that brings one"
        )
    return cast(Runner, runners[runtime.value])


def _load(group: str) -> dict[str, object]:
    return {each.name: each.load() for each in entry_points(group=group)}
