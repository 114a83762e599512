"""How far the training of the demonstration's teacher is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingProgress:
    """``fraction`` 0..1 and a line for people."""

    fraction: float
    text: str
