"""How a sandboxed task can fail to end by itself; each text is one clear line."""

from distillfarm.domain.errors import FarmError


class TaskDied(FarmError):
    """The subprocess of a task ended without an answer."""


class TaskCrashed(TaskDied):
    """It was ended by a signal, such as a segmentation fault, or left without a word."""


class TaskOutOfMemory(TaskDied):
    """It needed more memory than its limit, or than the computer has."""


class TaskOutOfTime(TaskDied):
    """It did not finish in the time allowed."""


class TaskOutOfDisk(TaskDied):
    """It wrote more than its limit, or than the disk holds."""
