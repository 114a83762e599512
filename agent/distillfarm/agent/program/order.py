"""What one launch is asked to do, as it travels on the command line."""

from collections.abc import Sequence
from typing import NamedTuple


class Order(NamedTuple):
    """One launch; each field is one argument ``name=value``, which a C program reads, too.

    ``inputs`` and ``expected`` are paths of .npz files, empty for made-up inputs and for no
    comparison. ``cold`` is a value of ``domain.job.ColdStart``, and ``cache`` the folder in which
    a delegate keeps what it compiled, empty for none. It infers until ``max_sampling_s`` are over
    and at ``least`` so many inferences are timed, but no more than ``iterations``; at most ``kept``
    samples are told. The other settings are those of ``domain.job.MeasureSpec``.
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
    cold: str = "new_process"
    cache: str = ""
    least: int = 10
    kept: int = 200_000

    def to_arguments(self) -> list[str]:
        """The order as command-line arguments."""
        return [f"{name}={value}" for name, value in self._asdict().items()]

    @classmethod
    def from_arguments(cls, arguments: Sequence[str]) -> "Order":
        """The inverse of ``to_arguments``."""
        told = dict(each.split("=", 1) for each in arguments)
        return cls(
            runtime=told["runtime"],
            delegate=told["delegate"],
            model=told["model"],
            inputs=told["inputs"],
            expected=told["expected"],
            threads=int(told["threads"]),
            max_warmup=int(told["max_warmup"]),
            iterations=int(told["iterations"]),
            max_sampling_s=float(told["max_sampling_s"]),
            cold=told["cold"],
            cache=told["cache"],
            least=int(told["least"]),
            kept=int(told["kept"]),
        )
