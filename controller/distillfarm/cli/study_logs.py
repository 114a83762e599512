"""Fetches what the passes of a study logged."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from distillfarm.domain.errors import NotFound
from distillfarm.domain.variant import Recipe

if TYPE_CHECKING:
    from distillfarm.client import Client


@dataclass(frozen=True)
class Log:
    """One step's log; the title says what it is of."""

    title: str
    lines: tuple[str, ...]


async def fetch(client: "Client", study_id: str, recipe: Recipe | None) -> list[Log]:
    """The logs of a study's steps in the order of its trials, of one recipe if one is given.

    A step that several candidates share is there once.

    Raises:
        NotFound: no such study, no such recipe in it, or nothing was logged.
    """
    trials = await client.trials(study_id)
    titles: dict[str, str] = {}
    for trial in trials:
        if recipe in (None, trial.candidate.recipe):
            for each in trial.logs:
                titles.setdefault(each.digest, f"{trial.candidate}: {each.step}")
    if not titles:
        tried = ", ".join(sorted({str(trial.candidate.recipe) for trial in trials})) or "nothing"
        of = f" of {recipe}" if recipe else ""
        raise NotFound(f"{study_id} has no logs{of}; it tried {tried}")
    logs = []
    with TemporaryDirectory(prefix="distillfarm-") as scratch:
        file = Path(scratch) / "log"
        for digest, title in titles.items():
            await client.download(digest, file)
            text = file.read_text(encoding="utf-8", errors="replace")
            logs.append(Log(title, tuple(text.splitlines())))
    return logs
