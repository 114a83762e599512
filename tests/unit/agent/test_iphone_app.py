"""The reference app of a stand-in iPhone: real launches, answered in the files of the real app."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import msgspec
import numpy as np
import pytest

from distillfarm.agent.drivers.ios import job_files
from distillfarm.agent.runners import reports
from distillfarm.domain.errors import DigestMismatch
from distillfarm.domain.hardware import Runtime
from distillfarm.domain.job import ColdStart

ROOT = Path(__file__).parents[3]
MODELS = ROOT / "tests" / "golden" / "launch_models"
NONCE = "5f0c1b7e9a2d4c6f8e1b3a5d7c9f0e2a"


@dataclass(frozen=True)
class Container:
    """An app's container on a stand-in phone, with one job."""

    folder: Path
    job: job_files.JobFile

    @property
    def answers(self) -> Path:
        return self.folder / "Documents" / "jobs" / self.job.job

    def status(self) -> job_files.StatusFile:
        return job_files.decode_status((self.answers / job_files.STATUS).read_bytes(), self.job)

    def result(self) -> job_files.ResultFile:
        return job_files.decode_result((self.answers / job_files.RESULT).read_bytes(), self.job)

    def launch(self, conditions: Path | None = None) -> "subprocess.CompletedProcess[str]":
        command = ["-m", "iphone_app", "--container", str(self.folder), "--job", self.job.job]
        told = {"IPHONE_CONDITIONS": str(conditions)} if conditions else {}
        return subprocess.run(
            [sys.executable, *command],
            env={**os.environ, "PYTHONPATH": str(ROOT / "tests" / "standins"), **told},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def container(folder: Path, model: Path, **changes: object) -> Container:
    """A container whose job runs ``model``."""
    place = folder / "Documents" / "jobs" / "a1"
    place.mkdir(parents=True)
    (folder / "Library" / "Caches").mkdir(parents=True)
    shutil.copy(model, place / model.name)
    job = job_files.JobFile(
        format=job_files.FORMAT,
        job="a1",
        nonce=NONCE,
        runtime=Runtime.ONNXRUNTIME,
        delegate="cpu",
        model=f"jobs/a1/{model.name}",
        model_sha256=hashlib.sha256(model.read_bytes()).hexdigest(),
        inputs="",
        expected="",
        threads=1,
        max_warmup=10,
        iterations=12,
        max_sampling_s=1.0,
        cold=ColdStart.NEW_PROCESS,
        least=10,
        kept=1000,
    )
    job = msgspec.structs.replace(job, **changes)
    (place / job_files.JOB).write_bytes(job_files.encode(job))
    return Container(folder, job)


def test_a_launch_is_answered_with_raw_samples_and_evidence(tmp_path: Path) -> None:
    app = container(tmp_path, MODELS / "cnn.onnx")
    assert app.launch().returncode == 0
    told = app.result()
    *_, last = told.events
    assert isinstance(last, reports.Finished)
    assert len(last.samples_ns) == 12
    assert last.first_output_ns > last.runtime_ns + last.load_ns + last.first_inference_ns
    assert last.placements[0].unit == "CPUExecutionProvider"
    assert told.placements_source == "ep_graph_assignment_info"
    assert (told.compile_ns, told.predicted) == (None, ())
    assert told.before.thermal is job_files.Thermal.NOMINAL
    assert app.status().events == told.events
    assert not list(app.answers.glob("*.new"))


@pytest.mark.skipif(
    find_spec("coreai") is None, reason="no coreai: pip install 'distillfarm[coreai]'"
)
def test_core_ai_runs_for_real_and_tells_no_placements(tmp_path: Path) -> None:
    model = MODELS / "cnn.aimodel.tar"
    app = container(tmp_path, model, runtime=Runtime.COREAI, delegate="cpu_only")
    assert app.launch().returncode == 0
    told = app.result()
    last = told.events[-1]
    assert isinstance(last, reports.Finished)
    assert last.version == version("coreai-core")
    assert min(last.samples_ns) > 0
    assert (last.placements, told.placements_source, told.predicted) == ((), "", ())


def test_outputs_are_compared_with_the_reference(tmp_path: Path) -> None:
    app = container(
        tmp_path, MODELS / "cnn.onnx", inputs="jobs/a1/in.npz", expected="jobs/a1/out.npz"
    )
    np.savez(app.answers / "in.npz", image=np.ones((1, 1, 28, 28), np.float32))
    np.savez(app.answers / "out.npz", logits=np.full((1, 10), 1e6, np.float32))
    app.launch()
    last = app.result().events[-1]
    assert isinstance(last, reports.Finished)
    assert last.errors[0].magnitude == 1e6
    assert last.errors[0].relative > 0.9


def test_a_first_ever_start_finds_the_caches_empty(tmp_path: Path) -> None:
    app = container(tmp_path, MODELS / "cnn.onnx", cold=ColdStart.FIRST_EVER)
    kept = tmp_path / "Library" / "Caches" / "compiled"
    kept.write_bytes(b"from before")
    app.launch()
    last = app.result().events[-1]
    assert isinstance(last, reports.Finished)
    assert last.cold_start is ColdStart.FIRST_EVER
    assert not kept.exists()


def test_another_model_than_the_jobs_is_not_run(tmp_path: Path) -> None:
    app = container(tmp_path, MODELS / "cnn.onnx", model_sha256="0" * 64)
    assert app.launch().returncode == 0
    with pytest.raises(DigestMismatch):
        app.result()
    assert app.status().events == ()


@pytest.mark.parametrize(
    ("changes", "kind", "reason"),
    [
        ({"delegate": "coreml"}, reports.RuntimeRefused, "no 'coreml' execution provider"),
        ({"runtime": Runtime.COREML, "delegate": "all"}, reports.RuntimeMissing, "not coreml"),
        (
            {"runtime": Runtime.COREAI, "delegate": "default"},
            reports.RuntimeRefused,
            "has cpu_only",
        ),
        ({"inputs": "jobs/a1/job.json"}, reports.BadInputs, "cannot be read"),
    ],
)
def test_what_cannot_be_run_is_answered_with_the_reason(
    tmp_path: Path, changes: dict[str, object], kind: type, reason: str
) -> None:
    app = container(tmp_path, MODELS / "cnn.onnx", **changes)
    assert app.launch().returncode == 0
    last = app.result().events[-1]
    assert isinstance(last, kind)
    assert reason in str(last)


def test_a_model_that_crashes_leaves_a_status_that_tells_where(tmp_path: Path) -> None:
    app = container(tmp_path, MODELS / "crashing.tflite", runtime=Runtime.LITERT, delegate="none")
    assert -app.launch().returncode in (signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE)
    assert not (app.answers / job_files.RESULT).exists()
    assert isinstance(app.status().events[0], reports.RuntimeLoaded)


def test_a_job_that_cannot_be_understood_is_told_on_standard_error(tmp_path: Path) -> None:
    app = container(tmp_path, MODELS / "cnn.onnx")
    (app.answers / job_files.JOB).write_text('{"format": 1}')
    ended = app.launch()
    assert ended.returncode == 2
    assert "job.json" in ended.stderr
    assert not (app.answers / job_files.STATUS).exists()


def test_the_phones_heat_and_low_power_mode_are_told(tmp_path: Path) -> None:
    app = container(tmp_path, MODELS / "cnn.onnx")
    told = tmp_path / "conditions.json"
    told.write_text('{"thermal": "serious", "low_power_mode": true}')
    app.launch(told)
    assert app.result().before == job_files.Conditions(
        job_files.Thermal.SERIOUS, low_power_mode=True
    )


def test_the_events_are_lines_on_standard_output_too(tmp_path: Path) -> None:
    app = container(tmp_path, MODELS / "cnn.onnx")
    lines = app.launch().stdout.splitlines()
    decoded = tuple(msgspec.json.decode(each, type=reports.Event) for each in lines)
    assert decoded == app.result().events
