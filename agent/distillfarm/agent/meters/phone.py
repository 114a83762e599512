"""Which instrument tells a phone's energy: the first of several that has no reason not to."""

from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import Protocol, cast

from distillfarm.agent.meters.external import ExternalMeter
from distillfarm.agent.meters.gauge import BatteryGaugeMeter, GaugeReader
from distillfarm.agent.meters.odpm import OdpmMeter, RailReader
from distillfarm.agent.protocols import DeviceDriver, EnergyMeter, Window
from distillfarm.domain.measurement import Energy


class Candidate(EnergyMeter, Protocol):
    """A meter that says after ``start`` whether it measures."""

    refusal: str


class FirstOf:
    """An ``EnergyMeter`` that measures by the first candidate that can; the others rest."""

    def __init__(self, candidates: Mapping[str, Candidate]) -> None:
        self._candidates = candidates
        self._refusals: list[str] = ["the meter was not started"]
        self._chosen: Candidate | None = None

    async def start(self, driver: DeviceDriver) -> None:
        """See ``protocols.EnergyMeter``."""
        self._refusals, self._chosen = [], None
        for name, candidate in self._candidates.items():
            await candidate.start(driver)
            if not candidate.refusal:
                self._chosen = candidate
                return
            self._refusals.append(f"{name}: {candidate.refusal}")

    async def stop(self, windows: Sequence[Window]) -> Energy:
        """See ``protocols.EnergyMeter``; the reason is that of every candidate that was asked."""
        if self._chosen is None:
            return Energy(reason="; ".join(self._refusals))
        energy = await self._chosen.stop(windows)
        if energy.reason and self._refusals:
            return Energy(reason="; ".join([*self._refusals, energy.reason]))
        return energy


def phone_energy(
    serial: str, rails: RailReader, gauge: GaugeReader, external: Mapping[str, str]
) -> EnergyMeter:
    """The meter of one phone: an external one first, then its rails, then its battery's gauge.

    ``external`` are ``AgentSettings.external_meters``: by serial, a command line or the name of an
    entry point in ``distillfarm.meters``, which takes the serial and gives a ``Candidate``.
    """
    candidates: dict[str, Candidate] = {}
    if serial in external:
        candidates["external meter"] = _external(serial, external[serial])
    candidates["power rails"] = OdpmMeter(rails)
    candidates["battery gauge"] = BatteryGaugeMeter(gauge)
    return FirstOf(candidates)


def _external(serial: str, setting: str) -> Candidate:
    for each in entry_points(group="distillfarm.meters", name=setting):
        return cast(Candidate, each.load()(serial))
    return ExternalMeter(setting)
