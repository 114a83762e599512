"""What agent and worker say survives the pipe, and every question has an answer."""

import ast
import typing
from pathlib import Path

import msgspec
import pytest

from distillfarm.agent.drivers import ios
from distillfarm.agent.drivers.ios import protocol
from distillfarm.agent.drivers.ios.protocol import (
    AnyQuestion,
    Asked,
    Begin,
    Failed,
    Identify,
    Progress,
    Question,
    ReadFile,
    Reply,
    Told,
    WriteFile,
)

FOLDER = Path(ios.__file__).parent


@pytest.mark.parametrize(
    "question",
    [
        Identify(),
        Begin("org.x", ("--job", "j1"), {"NAME": "a=b\n"}),
        WriteFile("org.x", "/Documents/f", bytes(range(256))),
    ],
)
def test_a_question_comes_through_as_it_was_asked(question: AnyQuestion) -> None:
    asked = Asked(7, 2.5, question)
    line = msgspec.json.encode(asked)
    assert b"\n" not in line
    assert msgspec.json.decode(line, type=Asked) == asked


def test_an_answer_is_read_as_what_its_question_promises() -> None:
    reply = Told(7, msgspec.Raw(msgspec.json.encode(b"\x00\xff")))
    told = msgspec.json.decode(msgspec.json.encode(reply), type=Reply)
    assert isinstance(told, Told)
    assert msgspec.json.decode(told.answer, type=ReadFile.answer) == b"\x00\xff"


def test_a_failure_is_told_apart_from_an_answer() -> None:
    failed = Failed(3, "TimeoutError", "")
    assert msgspec.json.decode(msgspec.json.encode(failed), type=Reply) == failed


def test_every_question_is_in_the_union_that_the_worker_reads() -> None:
    written = {
        each
        for each in vars(protocol).values()
        if isinstance(each, type) and issubclass(each, Question) and each is not Question
    }
    assert written == set(typing.get_args(AnyQuestion))


def test_the_worker_answers_every_question() -> None:
    source = (FOLDER / "worker" / "answers.py").read_text()
    answered = {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "ask"
    }
    assert {each.__name__ for each in typing.get_args(AnyQuestion)} <= answered


def test_progress_without_an_end_says_nothing_of_how() -> None:
    progress = msgspec.json.decode(b'{"lines":[],"ended":false}', type=Progress)
    assert (progress.code, progress.signal) == (None, None)


def test_the_library_is_imported_in_the_worker_alone() -> None:
    importing = {
        path.relative_to(FOLDER).parts[0]
        for path in FOLDER.rglob("*.py")
        if "pymobiledevice3" in _imported(path)
    }
    assert importing == {"worker"}


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Import):
            found |= {each.name.partition(".")[0] for each in node.names}
    return found
