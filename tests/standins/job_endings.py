"""How a job ended, as the controller is told."""

from dataclasses import dataclass
from typing import Self

from distillfarm.domain.agent import JobResult
from distillfarm.domain.errors import Blame
from distillfarm.domain.measurement import Outcome


@dataclass(frozen=True)
class Ending:
    """An outcome, or an error with who is to blame and whether it is tried again.

    ``felled`` is whether the device went down while the model ran.
    """

    outcome: Outcome | None = None
    blame: Blame | None = None
    retryable: bool = False
    felled: bool = False

    @classmethod
    def of(cls, result: JobResult) -> Self:
        """What the controller is told."""
        if result.measurement is not None:
            return cls(result.measurement.outcome)
        return cls(None, result.blame, result.retryable, result.felled)

    def __str__(self) -> str:
        if self.outcome is not None:
            return self.outcome.value
        who = self.blame.value if self.blame else "nobody"
        again = "tried again" if self.retryable else "not tried again"
        return f"error: {who}, {again}{', felled' if self.felled else ''}"
