"""Finished results, kept on disk until the controller has acknowledged them."""

from pathlib import Path

import msgspec

from distillfarm.domain.agent import JobResult
from distillfarm.domain.ids import derived_id
from distillfarm.domain.job import Lease
from distillfarm.files import whole


class Spool:
    """A folder with one JSON file a result; survives ``kill -9`` at any point."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"*{whole.PARTIAL}"):
            leftover.unlink()

    def put(self, result: JobResult) -> None:
        """Keep a result; on disk when this returns."""
        whole.write(self._path(result.lease), msgspec.json.encode(result))

    def results(self) -> list[JobResult]:
        """Everything that is kept, the oldest first."""
        paths = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        return [msgspec.json.decode(path.read_bytes(), type=JobResult) for path in paths]

    def drop(self, lease: Lease) -> None:
        """Forget the result of a lease; no-op when there is none."""
        self._path(lease).unlink(missing_ok=True)

    def _path(self, lease: Lease) -> Path:
        # Renewals change a lease's expiry but never its job and token.
        return self._folder / f"{derived_id('result', lease.job_id, str(lease.token))}.json"
