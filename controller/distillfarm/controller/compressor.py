"""Asks compression workers, and waits: every answer is looked up first and worked out once.

The workflow id of a request is derived from its inputs, so a finished workflow is the cache. What
cannot be used any more (its files are gone, it failed, it was cancelled) is deleted and asked anew.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec
from dbos import DBOSClient, PortableWorkflowError, WorkflowStatus

from distillfarm.compression import compress
from distillfarm.compression.workflows import (
    APPLICATION,
    MAX_ATTEMPTS,
    QUEUE,
    WORKFLOW_NAMES,
    Analyse,
    Answer,
    ApplyPass,
    Convert,
    Export,
    Ingest,
    Progress,
    Request,
    code_version,
    request_id,
    title,
)
from distillfarm.controller.durable import named_error
from distillfarm.domain.errors import (
    Cancelled,
    DigestMismatch,
    FarmError,
    InternalError,
    InvalidRequest,
    ModelRejected,
    Unavailable,
)
from distillfarm.domain.hardware import Target
from distillfarm.domain.model import Analysis, Dataset, SourceModel
from distillfarm.domain.variant import Exported, Recipe, Refusal, Variant
from distillfarm.wire.blobs import BlobStore

Report = Callable[[float, str], None]
IsCancelled = Callable[[], bool]

_ATTEMPTS = 3
_QUEUED = ("ENQUEUED", "DELAYED")
_ALIVE = (*_QUEUED, "PENDING")


@dataclass(frozen=True)
class Built:
    """An answer with the seconds that were waited for it; ``cached`` when it was there already."""

    answer: Answer
    seconds: float
    cached: bool


class Compressor:
    """The controller's side of the compression queue; thread-safe.

    ``silence_s`` without a beat of its worker, and a running step is queued again for another.
    """

    def __init__(
        self,
        client: DBOSClient,
        blobs: BlobStore,
        *,
        silence_s: float = 30.0,
        poll_s: float = 0.2,
    ) -> None:
        self._client = client
        self._blobs = blobs
        self._silence_s = silence_s
        self._poll_s = poll_s
        self._lock = threading.Lock()
        self._waiters: Counter[str] = Counter()

    def ingest(
        self, source: SourceModel, dataset: Dataset, report: Report, cancelled: IsCancelled
    ) -> Variant:
        """The model as a variant of the empty recipe.

        Raises:
            ModelRejected: the file is hostile, broken or of an unknown format.
        """
        answer = self.ask(Ingest(source, dataset), report, cancelled).answer
        if answer.variant is None:
            raise ModelRejected(_reason(answer))
        return answer.variant

    def analyse(
        self, model: Variant, dataset: Dataset, report: Report, cancelled: IsCancelled
    ) -> Analysis:
        """What the model is made of, how long its layers take and what they mind.

        Raises:
            ModelRejected: it cannot be analysed.
        """
        answer = self.ask(Analyse(model, dataset), report, cancelled).answer
        if answer.analysis is None:
            raise ModelRejected(_reason(answer))
        return answer.analysis

    def compress(
        self,
        model: Variant,
        recipe: Recipe,
        target: Target,
        *,
        dataset: Dataset,
        seed: int,
        report: Report,
        cancelled: IsCancelled,
    ) -> Exported | Refusal:
        """Apply a recipe to the ingested ``model`` and export the result, step by step.

        A step that the harness could not do, after it was tried again, is a refusal as well: one
        candidate's trouble is not the study's.

        Raises:
            Cancelled: ``cancelled`` said so.
        """
        try:
            steps = compress.steps(recipe, model.artifact.format, target)
        except InvalidRequest as error:
            return Refusal("recipe", str(error))
        variant = model
        export = Export(model, target, dataset, model, seed)
        for step in steps:
            request = _request(step, variant, export)
            try:
                answer = self.ask(request, report, cancelled).answer
            except Cancelled:
                raise
            except FarmError as error:
                return Refusal(title(request), str(error))
            if answer.refusal is not None:
                return answer.refusal
            if answer.exported is not None:
                return answer.exported
            if answer.variant is not None:
                variant = answer.variant
        raise InternalError(f"recipe {recipe}: its steps for {target} end without an export")

    def ask(self, request: Request, report: Report, cancelled: IsCancelled) -> Built:
        """The answer to ``request``, from the cache or from a worker.

        ``report`` is called with the worker's progress whenever it changes.

        Raises:
            Cancelled: ``cancelled`` said so; the worker stops too unless somebody else waits.
            FarmError: the harness's fault, three times over if trying again could have helped.
        """
        workflow_id = request_id(request)
        started = time.monotonic()
        cached = self._cached(workflow_id)
        if cached is not None:
            return Built(cached, time.monotonic() - started, cached=True)
        with self._lock:
            self._waiters[workflow_id] += 1
        abandoned = False
        try:
            answer = self._wait(request, workflow_id, report, cancelled)
        except Cancelled:
            abandoned = True
            raise
        finally:
            self._leave(workflow_id, abandoned=abandoned)
        return Built(answer, time.monotonic() - started, cached=False)

    def _cached(self, workflow_id: str) -> Answer | None:
        status = self._status(workflow_id)
        if status is None or status.status != "SUCCESS":
            return None
        answer = _answer(status)
        return answer if self._complete(answer) else None

    def _wait(
        self, request: Request, workflow_id: str, report: Report, cancelled: IsCancelled
    ) -> Answer:
        silence = Silence(self._silence_s)
        failures = 0
        status = self._status(workflow_id)
        if status is not None and status.status not in _ALIVE:
            # A failure of long ago, or an answer without its files.
            self._client.delete_workflow(workflow_id)
        while True:
            if cancelled():
                raise Cancelled(f"{title(request)}: cancelled")
            status = self._status(workflow_id)
            if status is None:
                self._enqueue(request, workflow_id)
            elif status.status in _QUEUED:
                report(0.0, f"{title(request)}: waiting for a compression worker")
            elif status.status == "PENDING":
                progress = msgspec.convert(status.attributes or {}, Progress)
                report(progress.fraction, progress.text or title(request))
                if silence.broken(f"{status.executor_id} {progress.beat}", time.monotonic()):
                    self._client.resume_workflow(workflow_id, queue_name=QUEUE)
            elif status.status == "SUCCESS" and self._complete(answer := _answer(status)):
                return answer
            else:
                failures += 1
                failure = _failure(request, status)
                if not failure.retryable or failures == _ATTEMPTS:
                    raise failure
                self._client.delete_workflow(workflow_id)
            time.sleep(self._poll_s)

    def _status(self, workflow_id: str) -> WorkflowStatus | None:
        found = self._client.list_workflows(workflow_ids=[workflow_id], load_input=False)
        return found[0] if found else None

    def _complete(self, answer: Answer) -> bool:
        return all(map(self._blobs.has, answer.digests()))

    def _enqueue(self, request: Request, workflow_id: str) -> None:
        self._client.enqueue(
            {
                "workflow_name": WORKFLOW_NAMES[type(request)],
                "queue_name": QUEUE,
                "workflow_id": workflow_id,
                "app_version": code_version(),
                "application_name": APPLICATION,
            },
            msgspec.json.encode(request).decode(),
        )

    def _leave(self, workflow_id: str, *, abandoned: bool) -> None:
        with self._lock:
            self._waiters[workflow_id] -= 1
            last = not self._waiters[workflow_id]
            if last:
                del self._waiters[workflow_id]
        if last and abandoned:
            self._client.cancel_workflow(workflow_id)


class Silence:
    """Notices when a worker's beat has not changed for too long, by the watcher's own clock."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._beat = ""
        self._since_s = 0.0

    def broken(self, beat: str, now_s: float) -> bool:
        """Whether ``beat`` has been the same for longer than the limit; starts anew when it has."""
        if beat != self._beat:
            self._beat, self._since_s = beat, now_s
            return False
        if now_s - self._since_s < self._limit_s:
            return False
        self._since_s = now_s
        return True


def _request(step: compress.Step, variant: Variant, export: Export) -> Request:
    """What to ask for a step on ``variant``, when all steps together lead to ``export``."""
    if step.spec is not None:
        return ApplyPass(variant, step.spec, export.dataset, export.teacher, export.seed)
    if step.kind is compress.StepKind.CONVERT:
        return Convert(variant, export.target, export.dataset, export.teacher, export.seed)
    return replace(export, variant=variant)


def _answer(status: WorkflowStatus) -> Answer:
    return msgspec.json.decode(status.output or "", type=Answer)


def _reason(answer: Answer) -> str:
    return answer.refusal.reason if answer.refusal else "the worker gave no answer"


def _failure(request: Request, status: WorkflowStatus) -> FarmError:
    if status.status == "SUCCESS":
        return DigestMismatch(
            f"{title(request)}: the result of {_answer(status).worker} is not in the blob store; "
            "give the worker and the controller the same blobs"
        )
    if status.status == "CANCELLED":
        return Unavailable(f"{title(request)}: cancelled by another study")
    if status.status == "ERROR" and isinstance(status.error, PortableWorkflowError):
        return named_error(status.error.name, status.error.message)
    return InternalError(
        f"{title(request)}: it ended its worker {MAX_ATTEMPTS} times; see the worker's log"
    )
