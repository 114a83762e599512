"""The line to an iPhone's worker: answers by number, deadlines, a worker that dies or hangs."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pytest
from scripted_usbmuxd import scripted_usbmuxd

from distillfarm.agent.drivers.fault import PhoneFault
from distillfarm.agent.drivers.ios import faults, line
from distillfarm.agent.drivers.ios.line import PhoneLine
from distillfarm.agent.drivers.ios.protocol import (
    End,
    FindApp,
    Identify,
    ImageMounted,
    Look,
    Question,
)

T = TypeVar("T")

UDID = "00008130-000000000000000A"
IDENTITY = (
    '{"udid":"x","product":"iPhone16,1","version":"17.5","build":"21F90","board":"D83AP",'
    '"platform":"t8130","name":"lab","paired":true}'
)
# Answers questions of one kind wrongly on purpose, and the others as told.
WORKER = f"""
import json, os, sys, time
from pathlib import Path
again = Path(sys.argv[1])
later = []
for line in sys.stdin:
    asked = json.loads(line)
    number, kind = asked["number"], asked["question"]["ask"]
    def say(**reply): print(json.dumps(dict(number=number, **reply)), flush=True)
    def told(answer): say(reply="told", answer=json.loads(answer))
    def failed(kind, words): say(reply="failed", kind=kind, words=words)
    if kind == "identify": told('''{IDENTITY}''')
    elif kind == "image_mounted" and not again.exists():
        again.touch()
        sys.exit("gone")
    elif kind == "image_mounted": told("true")
    elif kind == "look": time.sleep(3600)
    elif kind == "find_app": failed("AppNotInstalledError", "No app with bundle ID")
    elif kind == "end": failed("ConnectionTerminatedError", "")
"""


@pytest.fixture
async def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PhoneLine]:
    monkeypatch.setattr(line, "_SLACK_S", 0.2)
    monkeypatch.setattr(line, "_PAUSE_S", 0.05)
    program = (sys.executable, "-c", WORKER, str(tmp_path / "again"))
    with TemporaryDirectory() as folder:
        async with scripted_usbmuxd(Path(folder) / "mux") as muxd:
            muxd.phones = {UDID: "USB"}
            made = PhoneLine(UDID, str(muxd.path), patience_s=0.5, program=program)
            yield made
            await made.close()


async def test_questions_are_answered_side_by_side(phone: PhoneLine) -> None:
    told = await asyncio.gather(*(phone.ask(Identify()) for _ in range(20)))
    assert {each.product for each in told} == {"iPhone16,1"}


async def test_a_worker_that_died_is_replaced_and_asked_again(phone: PhoneLine) -> None:
    assert await phone.ask(ImageMounted()) is True


async def test_a_question_that_may_not_be_repeated_is_not(phone: PhoneLine) -> None:
    with pytest.raises(PhoneFault, match="gone") as caught:
        await phone.ask_once(ImageMounted())
    assert caught.value.fault is faults.CUT


async def test_a_worker_that_hangs_is_ended(phone: PhoneLine) -> None:
    with pytest.raises(PhoneFault) as caught:
        await phone.ask_once(Look(), timeout_s=0.2)
    assert caught.value.fault is faults.SILENT
    assert (await phone.ask(Identify())).build == "21F90"


async def test_what_needs_a_person_is_not_asked_twice(phone: PhoneLine) -> None:
    with pytest.raises(PhoneFault) as caught:
        await phone.ask(FindApp("org.x"))
    assert caught.value.fault is faults.NO_APP


async def test_a_link_that_stays_broken_is_told_after_a_few_tries(phone: PhoneLine) -> None:
    with pytest.raises(PhoneFault) as caught:
        await phone.ask(End(1))
    assert caught.value.fault is faults.CUT


async def test_a_phone_that_is_not_listed_is_gone(phone: PhoneLine) -> None:
    with TemporaryDirectory() as folder:
        async with scripted_usbmuxd(Path(folder) / "mux") as empty:
            away = PhoneLine(
                UDID, str(empty.path), patience_s=0.1, program=(sys.executable, "-c", "")
            )
            with pytest.raises(PhoneFault) as caught:
                await away.settle()
            await away.close()
    assert caught.value.fault is faults.GONE


class CountingLine(PhoneLine):
    """Counts the questions that reach for the phone."""

    asked = 0

    async def ask_once(self, question: Question[T], timeout_s: float = line.ANSWER_S) -> T:
        self.asked += 1
        return await super().ask_once(question, timeout_s)


async def test_a_phone_that_was_given_up_is_asked_nothing_more_until_it_is_settled(
    phone: PhoneLine,
) -> None:
    with TemporaryDirectory() as folder:
        async with scripted_usbmuxd(Path(folder) / "mux") as empty:
            program = (sys.executable, "-c", "")
            away = CountingLine(UDID, str(empty.path), patience_s=0.1, program=program)
            with pytest.raises(PhoneFault):
                await away.settle()
            tried = away.asked
            questions: list[Question[Any]] = [ImageMounted(), End(1), FindApp("org.x")]
            for question in questions:
                with pytest.raises(PhoneFault) as caught:
                    await away.ask(question)
                assert caught.value.fault is faults.GONE
            with pytest.raises(PhoneFault):
                await away.back(None)
            assert away.asked == tried
            with pytest.raises(PhoneFault):
                await away.settle()
            assert away.asked > tried
            await away.close()


async def test_a_worker_without_its_library_says_what_to_install(phone: PhoneLine) -> None:
    bare = PhoneLine(
        UDID, phone._where, patience_s=5.0, program=(sys.executable, "-c", "import no_such_thing")
    )
    with pytest.raises(PhoneFault, match="distillfarm\\[ios\\]"):
        await bare.settle()
    await bare.close()
