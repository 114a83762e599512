"""The worker process: takes requests off the durable queue, one subprocess for each.

DBOS keeps who works on what in the workflow database. A worker that was killed and starts again
under the same name goes on with its work; of one that stays away the pulse stops, and whoever
waits for the answer queues the work again (see ``controller.compressor``).
"""

import contextlib
import fcntl
import logging
import re
import secrets
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType, TracebackType

import msgspec
import structlog
from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer

from distillfarm.compression.settings import WorkerSettings
from distillfarm.compression.workflows import (
    APPLICATION,
    MAX_ATTEMPTS,
    QUEUE,
    WORKFLOW_NAMES,
    Answer,
    AnyWorkshop,
    Progress,
    Request,
    code_version,
    perform,
)
from distillfarm.domain.errors import AlreadyExists, Cancelled
from distillfarm.wire.blobs import open_blobs

_QUEUE_POLL_S = 0.2
_PULSE_S = 1.0

_log = structlog.get_logger(__name__)


class WorkerStopping(BaseException):
    """Unwinds a step when the worker is asked to stop.

    Not an ``Exception``, because DBOS records those as the step's outcome; of this it takes no
    note, so the step stays pending and is done again.
    """


def main(settings: WorkerSettings, stop: threading.Event | None = None) -> None:
    """Work until ``stop`` is set, or SIGTERM or SIGINT arrive when none is given.

    Raises:
        AlreadyExists: a worker of this name runs on this computer already.
    """
    from distillfarm.compression.workshop import Workshop

    stopping = stop or _stop_on_signals()
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    with only_process(settings.state_dir / f"{_file_name(settings.name)}.lock"):
        folder = settings.state_dir.resolve() / "work" / _file_name(settings.name)
        # What a killed worker left; nobody else works in a folder of this name.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        blobs = open_blobs(
            settings.blobs, settings.state_dir.resolve() / "blob-cache", settings.security
        )
        # Beside the folder that is emptied above, and for whatever worker goes on with the work.
        unfinished = settings.state_dir.resolve() / "unfinished"
        workshop = Workshop(blobs, folder, settings.limits, settings.threads, unfinished=unfinished)
        serve(settings, workshop, stopping)


def serve(settings: WorkerSettings, workshop: AnyWorkshop, stop: threading.Event) -> None:
    """Answer requests with ``workshop`` until ``stop`` is set."""
    logging.getLogger("dbos").setLevel(logging.WARNING)
    DBOS(config=worker_config(settings))
    DBOS.listen_queues([QUEUE])
    register(settings.name, workshop, stop)
    DBOS.launch()
    try:
        DBOS.register_queue(
            QUEUE,
            worker_concurrency=settings.concurrency,
            polling_interval_sec=_QUEUE_POLL_S,
            on_conflict="always_update",
        )
        _log.info("worker is ready", name=settings.name, code_version=code_version())
        stop.wait()
    finally:
        stop.set()
        DBOS.destroy(destroy_registry=True)


def worker_config(settings: WorkerSettings) -> DBOSConfig:
    """DBOS as a worker uses it: JSON in the database, a stable executor id, a pinned version."""
    return {
        "name": APPLICATION,
        "system_database_url": settings.workflow_database,
        "executor_id": settings.name,
        "application_version": code_version(),
        "serializer": DBOSPortableJSONSerializer(),
        "log_level": "WARNING",
    }


def register(worker: str, workshop: AnyWorkshop, stop: threading.Event) -> None:
    """Make each kind of request a DBOS workflow; between creating and launching DBOS."""
    for kind, name in WORKFLOW_NAMES.items():
        DBOS.workflow(name=name, max_recovery_attempts=MAX_ATTEMPTS)(
            _workflow(kind, worker, workshop, stop)
        )


def _workflow(
    kind: type[Request], worker: str, workshop: AnyWorkshop, stop: threading.Event
) -> Callable[[str], str]:
    def answer(text: str) -> str:
        request = msgspec.json.decode(text, type=kind)
        workflow_id = DBOS.workflow_id or ""
        with Pulse(workflow_id, worker, stop) as pulse:
            try:
                result = perform(request, workshop, pulse.report, pulse.cancelled)
            except Cancelled:
                if stop.is_set():
                    raise WorkerStopping from None
                raise
        return encode(replace(result, worker=worker))

    answer.__qualname__ = WORKFLOW_NAMES[kind]
    return answer


def encode(answer: Answer) -> str:
    """The answer as JSON text, as it stands in the workflow database."""
    return msgspec.json.encode(answer).decode()


class Pulse:
    """Tells the database that a step lives and how far it is, and the step when nobody wants it."""

    def __init__(self, workflow_id: str, worker: str, stop: threading.Event) -> None:
        self._workflow_id = workflow_id
        self._worker = worker
        self._stop = stop
        # Another attempt at the same step must not look like the silent one before it.
        self._progress = Progress(beat=secrets.randbits(32))
        self._unwanted = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"pulse-{workflow_id}", daemon=True)

    def __enter__(self) -> "Pulse":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def report(self, fraction: float, text: str) -> None:
        """Take the step's progress, 0..1, to be written with the next beat."""
        self._progress = Progress(text, fraction, self._progress.beat)

    def cancelled(self) -> bool:
        """Whether the step should end now."""
        return self._unwanted.is_set() or self._stop.is_set()

    def _beat(self) -> None:
        while True:
            status = DBOS.get_workflow_status(self._workflow_id)
            if status is None or (status.status, status.executor_id) != ("PENDING", self._worker):
                self._unwanted.set()
                return
            self._progress = replace(self._progress, beat=self._progress.beat + 1)
            DBOS.update_workflow_attributes(self._workflow_id, msgspec.to_builtins(self._progress))
            if self._over.wait(_PULSE_S):
                return


@contextlib.contextmanager
def only_process(path: Path) -> Iterator[None]:
    """Hold a lock file as long as this process lives.

    Raises:
        AlreadyExists: another process holds it.
    """
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyExists(
                f"another process holds {path.name}; stop it or choose another name"
            ) from error
        yield


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".") or "worker"


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    return stop
