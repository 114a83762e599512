"""Runs a study through a client: upload, create, follow to its end, fetch the bundle."""

import asyncio
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from distillfarm.cli.console import say
from distillfarm.cli.failures import ExitCode
from distillfarm.cli.sources import FunctionInFile, format_of
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import Target
from distillfarm.domain.ids import derived_id
from distillfarm.domain.model import ArtifactRef, Dataset, SourceModel
from distillfarm.domain.study import (
    Budget,
    MatrixCell,
    Metric,
    Sla,
    Study,
    StudyEvent,
    StudySpec,
    StudyState,
    Trial,
    Verdict,
)
from distillfarm.domain.variant import Recipe

if TYPE_CHECKING:
    from distillfarm.client import Client

_BUNDLE_MARK = "SHA256SUMS"


@dataclass(frozen=True)
class StudyRequest:
    """What the user asked for; paths and texts are checked already.

    ``again`` makes a new study although the same was asked for before. With ``recipes`` only these
    are tried; ``student`` builds what ``distill`` trains. ``objective`` and ``phones`` as in
    ``StudySpec``.
    """

    name: str
    model: Path
    factory: FunctionInFile | None
    data: Path
    evaluator: FunctionInFile | None
    sla: Sla
    targets: tuple[Target, ...]
    selector: str
    budget: Budget
    seed: int
    again: bool = False
    recipes: tuple[Recipe, ...] = ()
    student: FunctionInFile | None = None
    objective: Metric = Metric.WARM_P90
    phones: int = 2


@dataclass(frozen=True)
class Finished:
    """A study at its end, with what the tables and the exit code need."""

    study: Study
    trials: tuple[Trial, ...]
    cells: tuple[MatrixCell, ...]

    @property
    def exit_code(self) -> ExitCode:
        """The worst verdict over the chipsets."""
        if self.study.state is not StudyState.DONE or not self.study.choices:
            return ExitCode.ERROR
        verdicts = {choice.verdict.verdict for choice in self.study.choices}
        if Verdict.FAIL in verdicts:
            return ExitCode.FAIL
        return ExitCode.INCONCLUSIVE if Verdict.INCONCLUSIVE in verdicts else ExitCode.PASS


async def submit(client: "Client", request: StudyRequest) -> Study:
    """Upload the files and create the study.

    The same request finds its study again, at whatever state; one that failed or was cancelled is
    begun anew.
    """
    spec = await _upload(client, request)
    content = msgspec.json.encode(spec).decode()
    attempt = 0
    while True:
        once = secrets.token_hex(8) if request.again else str(attempt)
        study = await client.create_study(spec, derived_id("study", content, once))
        if study.state not in (StudyState.FAILED, StudyState.CANCELLED):
            return study
        attempt += 1


async def follow(client: "Client", study_id: str, show: Callable[[StudyEvent], None]) -> Study:
    """Show events until the study is final."""
    async for event in client.watch_study(study_id):
        show(event)
    return await client.study(study_id)


async def results(client: "Client", study: Study) -> Finished:
    """Everything that the tables show of a final study."""
    trials = await client.trials(study.study_id)
    cells = await client.matrix(study_id=study.study_id)
    return Finished(study, tuple(trials), tuple(cells))


def require_replaceable(out: Path) -> None:
    """Check before hours of work that the bundle can be put there.

    Raises:
        InvalidRequest: something else than an older bundle lies there.
    """
    free = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    if not free and not (out / _BUNDLE_MARK).is_file():
        raise InvalidRequest(f"--out {out}: something else lies there; choose another folder")


async def fetch_bundle(client: "Client", study: Study, out: Path) -> str:
    """Put the verified bundle into the folder ``out``; gives the fingerprint of its signer.

    Raises:
        InvalidRequest: the study left no bundle, or it does not hold what was signed.
    """
    from distillfarm.controller import bundle  # noqa: PLC0415  needs the controller's extra

    if study.bundle is None:
        raise InvalidRequest(f"{study.study_id} left no bundle: {study.error or 'nothing to ship'}")
    require_replaceable(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".bundle-", dir=out.parent) as scratch:
        archive, fresh = Path(scratch) / "bundle.tar", Path(scratch) / "bundle"
        await client.download(study.bundle.digest, archive)
        await asyncio.to_thread(bundle.unpack, archive, fresh)
        check = await asyncio.to_thread(bundle.verify, fresh)
        if not check.ok:
            raise InvalidRequest(f"the bundle does not verify: {'; '.join(check.problems)}")
        await asyncio.to_thread(_replace, out, fresh)
    return check.signer


def _replace(out: Path, fresh: Path) -> None:
    if out.exists():
        shutil.rmtree(out)
    fresh.rename(out)


async def _upload(client: "Client", request: StudyRequest) -> StudySpec:
    from distillfarm.compression.sources import model_file  # noqa: PLC0415  lazy

    say(f"uploading {request.model.name} and {request.data.name}")
    with TemporaryDirectory(prefix="distillfarm-") as scratch:
        model = await asyncio.to_thread(model_file, request.model, Path(scratch))
        digest, size = await client.upload(model)
    artifact = ArtifactRef(digest, size, format_of(request.model), request.model.name)
    factory = await _upload_function(client, request.factory)
    student = await _upload_function(client, request.student)
    evaluator = await _upload_function(client, request.evaluator)
    data, _ = await client.upload(request.data)
    return StudySpec(
        name=request.name,
        model=SourceModel(artifact, *factory, *student),
        data=Dataset(data, *evaluator),
        sla=request.sla,
        targets=request.targets,
        selector=request.selector,
        budget=request.budget,
        seed=request.seed,
        recipes=request.recipes,
        objective=request.objective,
        phones=request.phones,
    )


async def _upload_function(client: "Client", function: FunctionInFile | None) -> tuple[str, str]:
    if function is None:
        return "", ""
    digest, _ = await client.upload(function.path)
    return digest, function.name
