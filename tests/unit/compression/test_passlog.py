"""What a pass' log keeps, and that nothing in it can forge a line."""

from itertools import count
from pathlib import Path

import pytest

from distillfarm.compression import registry, tasks
from distillfarm.compression.passlog import PassLog
from distillfarm.compression.protocols import PassRefused
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.recipe import pass_spec
from distillfarm.domain.variant import CurvePoint


def test_a_log_has_times_progress_words_and_the_curve() -> None:
    told: list[tuple[float, str]] = []
    seconds = count()
    log = PassLog("prune on original", lambda *each: told.append(each), lambda: next(seconds))
    log(0.0, "loading")
    log(0.1, "loading")
    log(0.5, "epoch 1")
    log.wrote("UserWarning: slow\n\n\x1b[2Jnan in conv1\n")
    log.curve([CurvePoint(1, 0.25, 0.875)])
    assert log.text().decode().splitlines() == [
        "     1.00 s  prune on original",
        "     2.00 s  0% loading",
        "     3.00 s  50% epoch 1",
        "     4.00 s  stderr: UserWarning: slow",
        "     5.00 s  stderr: [2Jnan in conv1",
        "     6.00 s  curve: epoch 1, loss 0.25, quality 0.8750",
    ]
    assert told == [(0.0, "loading"), (0.1, "loading"), (0.5, "epoch 1")]


def test_of_a_long_log_the_beginning_and_the_end_are_kept() -> None:
    log = PassLog("distill", lambda _done, _text: None)
    for number in range(6000):
        log(0.0, f"batch {number}")
    lines = log.text().decode().splitlines()
    assert lines[1].endswith("batch 0")
    assert lines[500] == "... 1501 lines left out ..."
    assert lines[501].endswith("batch 2000")
    assert lines[-1].endswith("batch 5999")


def test_where_a_framework_failed_is_written_for_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        def run(self, *_: object) -> None:
            raise ZeroDivisionError("scale of conv1 is 0")

    monkeypatch.setattr(registry, "compression_pass", lambda _name: Broken())
    file = tasks.ModelFile(str(tmp_path / "model.zip"), ModelFormat.TORCH_MODULE)
    around = tasks.Surroundings(str(tmp_path), "", "", 0, file, 0, 1)
    request = tasks.ApplyRequest(file, pass_spec("prune"), around)
    with pytest.raises(PassRefused, match=r"prune: failed: ZeroDivisionError: scale of conv1 is 0"):
        tasks.apply(request, lambda _done, _text: None)
    assert "in run\n" in capfd.readouterr().err
