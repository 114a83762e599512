"""A study that is killed in the middle of a step, and replayed from those before it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
from study_in_process import Lab
from toy_farm import Toy

from distillfarm.controller import durable
from distillfarm.domain.study import Budget, Study

T = TypeVar("T")
NAME, EVERY = "study-1", 6
ASKING = ("ask first", "ask")


class KilledError(BaseException):
    """The controller's process is gone."""


@dataclass
class Journal:
    """Steps with their results; the one after ``last`` is done, and lost before it is written."""

    last: int = 1000
    written: list[tuple[str, bytes]] = field(default_factory=list)
    read: int = 0

    def step(self, name: str, work: Callable[[], T], kind: object) -> tuple[T, float]:
        if self.read == len(self.written):
            result = msgspec.json.encode(work())
            if self.read == self.last:
                raise KilledError
            self.written.append((name, result))
        told, text = self.written[self.read]
        assert told == name, f"step {self.read} was {told}, and is {name}"
        self.read += 1
        value: T = msgspec.json.decode(text, type=kind)
        return value, 0.01

    def asked(self) -> list[tuple[str, bytes]]:
        return [each for each in self.written if each[0] in ASKING]


def test_a_study_that_is_killed_at_any_moment_asks_for_the_same_and_ends_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lab(name: str, journal: Journal) -> Lab:
        (tmp_path / name).mkdir()
        made = Lab(tmp_path / name, monkeypatch, Toy(phones=2))
        monkeypatch.setattr(durable, "step", journal.step)
        return made

    def choice_of(study: Study) -> tuple[str, str]:
        (choice,) = study.choices
        return choice.trial_id, choice.why

    budget = Budget(3, 600.0)
    whole = Journal()
    expected = choice_of(lab("whole", whole).run(NAME, budget=budget))
    names = [name for name, _ in whole.written]
    assert names.count("judge") > 1

    for last in range(names.index("ask first"), len(names), EVERY):
        journal = Journal(last)
        farm = lab(str(last), journal)
        with pytest.raises(KilledError):
            farm.run(NAME, budget=budget)
        journal.last, journal.read = 1000, 0
        assert choice_of(farm.go_on(NAME)) == expected
        assert [name for name, _ in journal.written] == names
        assert journal.asked() == whole.asked()
