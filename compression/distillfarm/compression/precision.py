"""Whether a model has few bits already."""

from collections.abc import Sequence

_NARROW = frozenset({"int2", "int4", "int8", "uint2", "uint4", "uint8"})


def is_narrow(dtypes: Sequence[str]) -> bool:
    """Whether most weights have 8 bits or fewer; ``dtypes`` as in ``Analysis``."""
    return bool(dtypes) and dtypes[0] in _NARROW
