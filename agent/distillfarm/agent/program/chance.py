"""The chance by which a long launch keeps samples: the same sequence in every runner."""

_MULTIPLIER, _INCREMENT = 6364136223846793005, 1442695040888963407
_MASK = 2**64 - 1
_HIGH = 33


class Chance:
    """Knuth's MMIX generator (The Art of Computer Programming, vol. 2, 3.3.4), from its start."""

    def __init__(self) -> None:
        self._state = 0

    def below(self, bound: int) -> int:
        """A number from 0 up to ``bound``, which is a power of two up to 2**31."""
        self._state = (self._state * _MULTIPLIER + _INCREMENT) & _MASK
        return (self._state >> _HIGH) & (bound - 1)
