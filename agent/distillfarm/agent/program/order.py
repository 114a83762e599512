"""What one launch is asked to do, as it travels on the command line."""

import json
from typing import NamedTuple


class Order(NamedTuple):
    """One launch.

    ``inputs`` and ``expected`` are paths of .npz files, empty for made-up inputs and for no
    comparison. The other settings are those of ``domain.job.MeasureSpec``.
    """

    runtime: str
    delegate: str
    model: str
    inputs: str
    expected: str
    threads: int
    max_warmup: int
    iterations: int
    max_sampling_s: float

    def to_argument(self) -> str:
        """The order as one command-line argument."""
        return json.dumps(self._asdict())

    @classmethod
    def from_argument(cls, text: str) -> "Order":
        """The inverse of ``to_argument``."""
        return cls(**json.loads(text))
