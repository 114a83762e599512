"""The demonstration, whole: real training, compression and measurement, twice."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from distillfarm.domain.study import Study, Trial

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]


def demo(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "distillfarm.cli", "demo", "--quick"),
            *("--state-dir", str(folder / "state"), "--out", str(folder / "out" / "demo")),
        ],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "COLUMNS": "180"},
        check=False,
    )


def test_the_demo_delivers_a_signed_bundle_and_trains_nothing_twice(tmp_path: Path) -> None:
    first = demo(tmp_path)
    assert first.returncode in (0, 3, 4), first.stderr
    for text in ("Pareto front on", "warm p90 ms", "SLA on", "Compatibility matrix"):
        assert text in first.stdout
    assert "training the teacher" in first.stderr
    assert "report: " in first.stderr

    bundle = tmp_path / "out" / "demo"
    report = (bundle / "report.html").read_text()
    assert "data:image" in report or "<svg" in report
    study = msgspec.json.decode((bundle / "study.json").read_bytes(), type=Study)
    trials = msgspec.json.decode((bundle / "trials.json").read_bytes(), type=list[Trial])
    assert study.choices
    chosen = {choice.trial_id for choice in study.choices}
    assert all(trial.score for trial in trials if trial.trial_id in chosen)

    verify = [sys.executable, "-m", "distillfarm.cli", "bundle", "verify", str(bundle)]
    assert subprocess.run(verify, capture_output=True, check=False).returncode == 0
    (bundle / "verdicts.json").write_text("[]")
    assert subprocess.run(verify, capture_output=True, check=False).returncode == 3

    second = demo(tmp_path)
    assert second.returncode in (0, 3, 4), second.stderr
    assert "teacher: found trained" in second.stderr
    assert "epoch" in first.stderr
    assert "epoch" not in second.stderr, "nothing is trained twice"
    assert subprocess.run(verify, capture_output=True, check=False).returncode == 0
