"""What a driver's check-up tells an operator: one thing that was looked at, how bad, what to do."""

from dataclasses import dataclass
from enum import Enum


class Grade(Enum):
    """How bad a finding is: BAD keeps something from working, POOR will sooner or later."""

    GOOD = "good"
    POOR = "poor"
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; ``remedy`` is empty where nothing is to be done."""

    subject: str
    grade: Grade
    text: str
    remedy: str = ""
