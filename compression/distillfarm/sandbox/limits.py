"""What a sandboxed program may use."""

from dataclasses import dataclass

GIB = 1024**3


@dataclass(frozen=True)
class Limits:
    """Bounds on a program and everything that it starts, taken together.

    ``memory_bytes`` is resident memory, ``wall_s`` runs from the start of the program, and
    ``disk_bytes`` is what may be added to its folders (and the size of any one file).
    """

    memory_bytes: int = 4 * GIB
    wall_s: float = 600.0
    disk_bytes: int = 4 * GIB
