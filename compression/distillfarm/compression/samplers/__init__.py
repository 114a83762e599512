"""Samplers: which candidate to try next."""

from collections.abc import Callable, Sequence

from distillfarm.compression.protocols import Sampler
from distillfarm.compression.samplers.grid import GridSampler
from distillfarm.compression.samplers.tpe import TpeSampler
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.variant import Candidate

_SAMPLERS: dict[str, Callable[[Sequence[Candidate], int], Sampler]] = {
    "grid": GridSampler,
    "tpe": TpeSampler,
}


def create(name: str, space: Sequence[Candidate], seed: int) -> Sampler:
    """A sampler over ``space`` by its name: ``tpe`` (the default of studies) or ``grid``.

    Raises:
        InvalidRequest: an unknown name.
    """
    if name not in _SAMPLERS:
        raise InvalidRequest(f"unknown sampler {name!r}; use one of {', '.join(sorted(_SAMPLERS))}")
    return _SAMPLERS[name](space, seed)


__all__ = ["GridSampler", "TpeSampler", "create"]
