"""How far a study is and how long it will take, learnt from what it did so far; no clock."""

from dataclasses import dataclass, field

UNKNOWN_S = -1.0
# Stages that take about a second whatever the model; all others must be seen before they are known.
_BRIEF_S = {"decide": 1.0, "bundle": 3.0, "analyse": 3.0}


@dataclass
class Progress:
    """Units of work planned and done for each stage, with the seconds that the done ones took.

    A plan is what is expected, and changes while the search learns what it needs.
    """

    planned: dict[str, int] = field(default_factory=dict)
    _done: dict[str, int] = field(default_factory=dict)
    _seconds: dict[str, float] = field(default_factory=dict)

    def finish(self, stage: str, units: int, seconds: float) -> None:
        """Count ``units`` of a stage as done."""
        self._done[stage] = self._done.get(stage, 0) + units
        self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds

    def settle(self, stage: str, units: int) -> None:
        """Plan exactly ``units`` more of a stage."""
        self.planned[stage] = self._done.get(stage, 0) + units

    def begin(self, stage: str, units: int) -> None:
        """Plan at least the ``units`` of a stage that are begun now, whatever was expected."""
        self.planned[stage] = max(self.planned.get(stage, 0), self._done.get(stage, 0) + units)

    @property
    def done(self) -> int:
        """Units done in all."""
        return sum(self._done.values())

    def done_with(self, stage: str, under_way: float) -> int:
        """Units done in all, with those of ``stage`` that are under way; never past its plan."""
        left = self.planned.get(stage, 0) - self._done.get(stage, 0)
        return self.done + min(int(under_way), max(left, 0))

    @property
    def total(self) -> int:
        """Units planned in all; never fewer than were done."""
        stages = {*self.planned, *self._done}
        return sum(max(self.planned.get(each, 0), self._done.get(each, 0)) for each in stages)

    def left_s(self, running: str = "", under_way: float = 0.0) -> float:
        """Seconds left, or -1 while a stage that is still to come has never been seen.

        ``under_way`` units of the ``running`` stage are done but not yet counted.
        """
        left = 0.0
        for stage, planned in self.planned.items():
            done = self._done.get(stage, 0)
            remaining = planned - done - (under_way if stage == running else 0.0)
            if remaining <= 0:
                continue
            if done:
                left += remaining * self._seconds[stage] / done
            elif stage in _BRIEF_S:
                left += remaining * _BRIEF_S[stage]
            else:
                return UNKNOWN_S
        return left
