"""Launches that a study wants, and what came of them."""

from dataclasses import dataclass

from distillfarm.controller.decide import Entrant
from distillfarm.controller.lab import ChipsetLab
from distillfarm.domain.study import Trial
from distillfarm.statistics.summary import LaunchValues


@dataclass(frozen=True)
class Order:
    """Launches that are wanted of a trial: on ``device_id``, or on any device of the chipset's.

    ``known`` are measurements that stand in, with ``known_launches`` of the ``launches``.
    """

    trial: Trial
    place: ChipsetLab
    launches: int
    device_id: str = ""
    known: tuple[str, ...] = ()
    known_launches: int = 0

    @property
    def to_make(self) -> int:
        """Launches that a device is asked for."""
        return max(self.launches - self.known_launches, 0)


@dataclass(frozen=True)
class Taken:
    """What came of an order: its trial with all that is known of it now.

    ``measured`` is whether there was an outcome, ``values`` what the launches showed that it added,
    None without numbers. ``launches`` were made for it, ``reused`` measurements were there before.
    """

    entrant: Entrant
    device_id: str = ""
    measured: bool = True
    values: LaunchValues | None = None
    launches: int = 0
    reused: int = 0
    device_s: float = 0.0
    waited_s: float = 0.0

    @property
    def trial(self) -> Trial:
        """The trial as it stands now."""
        return self.entrant.trial
