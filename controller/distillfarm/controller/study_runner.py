"""Starts, resumes, cancels studies: the durable side of the Studies service."""

import logging
import threading
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import structlog
from dbos import DBOS, DBOSClient, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID

from distillfarm.compression.workflows import APPLICATION as WORKERS
from distillfarm.controller import pipeline
from distillfarm.controller.compressor import Compressor
from distillfarm.controller.signing import signing_key
from distillfarm.controller.store.protocol import Store
from distillfarm.controller.tools import Dispatcher, Tools
from distillfarm.domain.study import StudyState
from distillfarm.wire.blobs import BlobStore

APPLICATION = "distillfarm-controller"
EXECUTOR = "controller"

_log = structlog.get_logger(__name__)


class StudySettings(Protocol):
    """What of the controller's settings concerns studies."""

    @property
    def state_dir(self) -> Path:
        """Where the signing key lies."""

    @property
    def workflow_database(self) -> str:
        """The URL of the workflow database that workers share."""

    @property
    def measurement_freshness_s(self) -> float:
        """How old a measurement may be to stand in for a search trial's; 0 forbids it."""

    @property
    def worker_silence_s(self) -> float:
        """How long a running step may go without a sign of life before it is queued again."""


class DurableStudies:
    """Studies as DBOS workflows; one in a process, since DBOS is one in a process.

    Order of calls: ``launch``, then ``start`` and ``cancel`` from any thread, then ``shutdown``.
    """

    def __init__(
        self, store: Store, blobs: BlobStore, dispatcher: Dispatcher, settings: StudySettings
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._dispatcher = dispatcher
        self._settings = settings
        self._stopping = threading.Event()
        self._client: DBOSClient | None = None
        self._pipeline: pipeline.Pipeline | None = None

    def launch(self) -> None:
        """Begin to run studies, first of all those that were under way when the last process died.

        Raises:
            sqlalchemy.exc.DBAPIError: the workflow database cannot be reached.
        """
        logging.getLogger("dbos").setLevel(logging.WARNING)
        serializer = DBOSPortableJSONSerializer()
        config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_url": self._settings.workflow_database,
            "executor_id": EXECUTOR,
            "application_version": pipeline.VERSION,
            "serializer": serializer,
            "log_level": "WARNING",
        }
        DBOS(config=config)
        DBOS.listen_queues([])
        self._client = DBOSClient(
            system_database_url=self._settings.workflow_database,
            serializer=serializer,
            application_name=WORKERS,
            lazy=True,
        )
        tools = Tools(
            store=self._store,
            blobs=self._blobs,
            compressor=Compressor(
                self._client, self._blobs, silence_s=self._settings.worker_silence_s
            ),
            dispatcher=self._dispatcher,
            signing_key=signing_key(self._settings.state_dir),
            stopping=self._stopping.is_set,
            freshness_s=self._settings.measurement_freshness_s,
        )
        self._pipeline = pipeline.Pipeline(tools)
        DBOS.launch()
        for study in self._store.studies():
            if not study.state.final:
                _log.info("study goes on", study_id=study.study_id)
                self.start(study.study_id)

    def start(self, study_id: str) -> None:
        """Run a study that is in the store; a study that runs or ran is left alone."""
        if self._pipeline is None:
            raise RuntimeError("launch comes before start")
        with SetWorkflowID(f"{study_id}-v{pipeline.VERSION}"):
            DBOS.start_workflow(self._pipeline.study, study_id)

    def cancel(self, study_id: str) -> None:
        """End a study; its running steps and jobs that nobody else wants stop within seconds."""
        study = self._store.study(study_id)
        if not study.state.final:
            self._store.put_study(replace(study, state=StudyState.CANCELLED))

    def shutdown(self) -> None:
        """Stop; what is under way goes on at the next launch."""
        self._stopping.set()
        DBOS.destroy(workflow_completion_timeout_sec=10)
        if self._client is not None:
            self._client.destroy()
            self._client = None
