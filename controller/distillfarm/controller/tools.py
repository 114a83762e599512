"""What the stages of every study work with: the store, the files, the compressor, the devices."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from distillfarm.controller.compressor import Compressor
from distillfarm.controller.signing import SigningKey
from distillfarm.controller.store.protocol import Store
from distillfarm.domain.job import Job, JobRequest
from distillfarm.wire.blobs import BlobStore


class Dispatcher(Protocol):
    """Runs benchmarks on the lab's devices."""

    def measure(
        self,
        requests: Sequence[JobRequest],
        *,
        on_progress: Callable[[Sequence[Job]], None],
        cancelled: Callable[[], bool],
    ) -> list[Job]:
        """Submit, wait until all are final, give them in order; the same keys, the same jobs.

        Raises:
            Cancelled: ``cancelled`` said so.
            Unavailable: the controller stops.
        """


@dataclass(frozen=True)
class Tools:
    """What the stages of every study work with.

    A measurement younger than ``freshness_s`` may stand in for a search trial's; 0 forbids it.
    """

    store: Store
    blobs: BlobStore
    compressor: Compressor
    dispatcher: Dispatcher
    signing_key: SigningKey
    stopping: Callable[[], bool]
    freshness_s: float = 24 * 3600.0
    wait_for_devices_s: float = 120.0
