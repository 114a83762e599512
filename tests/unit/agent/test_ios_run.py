"""A launch by job files: what counts as its answer, and what is launched again."""

from pathlib import Path
from typing import cast

import msgspec
import pytest

from distillfarm.agent.drivers.ios import job_files, protocol
from distillfarm.agent.drivers.ios.apps import PhoneApp
from distillfarm.agent.drivers.ios.job_files import JobFile, ResultFile
from distillfarm.agent.drivers.ios.line import PhoneLine
from distillfarm.agent.drivers.ios.run import JobRun, Start
from distillfarm.agent.program.order import Order
from distillfarm.agent.runners.reports import Event, RuntimeMissing
from distillfarm.domain.errors import MissingExtra
from distillfarm.domain.job import ColdStart

GOLDEN = Path(__file__).parents[2] / "golden" / "iphone_jobs"
GIVEN = msgspec.json.decode((GOLDEN / "result_coreml.json").read_bytes(), type=ResultFile)
ORDER = Order("coreml", "all", f"cache/{'0f' * 32}/model.mlpackage.tar", "", "", 1, 0, 10, 1.0)


class ScriptedLine:
    """Its app answers each launch by the next of ``answers``; None is a death without a result."""

    udid = "udid-1"
    before = None

    def __init__(self, *answers: tuple[Event, ...] | None) -> None:
        self._answers = list(answers)
        self.jobs: list[JobFile] = []

    async def ask(self, question: object, timeout_s: float = 0.0) -> object:
        match question:
            case protocol.WriteFile(content=content):
                self.jobs.append(job_files.decode_job(content))
            case protocol.Begin():
                return 400 + len(self.jobs)
            case protocol.Follow():
                return protocol.Progress(("a line",), ended=True, code=0)
            case protocol.ReadFile(remote=remote) if remote.endswith(job_files.RESULT):
                return self._result()
        return None

    def _result(self) -> bytes | None:
        events, job = self._answers[len(self.jobs) - 1], self.jobs[-1]
        if events is None:
            return None
        return job_files.encode(
            msgspec.structs.replace(
                GIVEN,
                job=job.job,
                nonce=job.nonce,
                model_sha256=job.model_sha256,
                events=events,
            )
        )


def run(line: ScriptedLine) -> JobRun:
    start = Start(PhoneApp("org.x", "Runner", by_job=True), (), {}, 30.0, ())
    return JobRun(cast(PhoneLine, line), start, ORDER, lambda _: None)


def finished(cold: ColdStart) -> tuple[Event, ...]:
    *before, last = GIVEN.events
    return *before, msgspec.structs.replace(last, cold_start=cold)


async def said(line: ScriptedLine) -> list[str]:
    launched = run(line)
    await launched.begin()
    return [each async for each in launched.lines()]


async def test_a_launch_that_had_to_compile_the_model_is_begun_again() -> None:
    line = ScriptedLine(finished(ColdStart.FIRST_EVER), finished(ColdStart.NEW_PROCESS))
    lines = await said(line)
    assert '"cold_start":"new_process"' in lines[-1]
    assert len({each.nonce for each in line.jobs}) == 2


async def test_an_app_that_keeps_nothing_is_not_launched_for_ever() -> None:
    line = ScriptedLine(*[finished(ColdStart.FIRST_EVER)] * 3)
    assert '"cold_start":"first_ever"' in (await said(line))[-1]
    assert len(line.jobs) == 2


async def test_a_death_without_a_word_says_nothing() -> None:
    assert await said(ScriptedLine(None)) == []


async def test_a_runtime_that_is_not_linked_names_the_app_as_the_place_to_mend() -> None:
    with pytest.raises(MissingExtra, match="link it into the app"):
        await said(ScriptedLine((RuntimeMissing("no LiteRT here"),)))
