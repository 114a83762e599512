"""The native runner as a process: its arguments, its cold starts, its answers, TFLite's C API."""

import json
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from launches import GOLDEN
from native_runner import LITERT, Said, order, run, run_with

from distillfarm.agent.runners import reports
from distillfarm.domain.measurement import Placement


def word(folder: Path, text: str) -> Path:
    """A model of the stand-in library."""
    path = folder / "model"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("threads=1", "threads=0"), "threads=0 is no whole number"),
        (("threads=1", "threads=1x"), "threads=1x"),
        (("threads=1", ""), "argument ''"),
        (("threads=1", "thread=1"), "'thread=1'"),
        (("threads=1", "model=a"), "model= is given twice"),
        (("max_sampling_s=0.5", "max_sampling_s=nan"), "number of seconds"),
        (("cold=new_process", "cold=warm"), "cold=warm"),
        (("runtime=litert", "runtime=tvm"), "runtime=tvm"),
    ],
)
def test_a_wrong_argument_is_told_on_standard_error(
    runner: Path, tmp_path: Path, change: tuple[str, str], words: str
) -> None:
    arguments = [*order("litert", "none", tmp_path).to_arguments(), f"library={LITERT}", "version="]
    arguments[arguments.index(change[0])] = change[1]
    said = run_with(runner, arguments)
    assert (said.code, said.stdout) == (2, b"")
    assert words in said.stderr


def test_a_missing_argument_is_named(runner: Path, tmp_path: Path) -> None:
    said = run_with(runner, order("litert", "none", tmp_path).to_arguments())
    assert (said.code, said.events) == (2, ())
    assert "library= is missing" in said.stderr


def test_the_time_to_the_first_output_runs_from_where_the_host_says(
    runner: Path, tflite: Path, tmp_path: Path
) -> None:
    ordered = order("litert", "none", word(tmp_path, "fine"))
    own = run(runner, tflite, ordered).finished
    told = run(runner, tflite, ordered, DISTILLFARM_LAUNCH_NS="0").finished
    assert own.first_output_ns < 10e9
    assert told.first_output_ns > own.first_output_ns


def test_dropped_pages_are_counted(runner: Path, tmp_path: Path) -> None:
    model = tmp_path / "cnn.tflite"
    model.write_bytes((GOLDEN / "cnn.tflite").read_bytes())
    ordered = order("litert", "none", model, cold="page_cache_dropped")
    line = json.loads(run(runner, LITERT, ordered).stdout.splitlines()[-1])
    assert line["cold_start"] == "page_cache_dropped"
    assert 0 <= line["page_cache_resident"] <= 1


def test_a_new_process_claims_nothing_of_the_page_cache(
    runner: Path, tflite: Path, tmp_path: Path
) -> None:
    said = run(runner, tflite, order("litert", "none", word(tmp_path, "fine")))
    line = json.loads(said.stdout.splitlines()[-1])
    assert line["cold_start"] == "new_process"
    assert "page_cache_resident" not in line


def test_first_ever_empties_the_cache_and_follows_no_link(
    runner: Path, tflite: Path, tmp_path: Path
) -> None:
    cache, elsewhere = tmp_path / "cache", tmp_path / "elsewhere"
    (cache / "deep" / "deeper").mkdir(parents=True)
    (cache / "deep" / "compiled").write_text("program")
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("kept")
    (cache / "link").symlink_to(elsewhere)
    ordered = order("litert", "none", word(tmp_path, "fine"), cold="first_ever", cache=str(cache))
    assert run(runner, tflite, ordered).finished
    assert list(cache.iterdir()) == []
    assert (elsewhere / "kept").read_text() == "kept"


def test_a_cold_start_that_cannot_be_made_is_not_claimed(
    runner: Path, tflite: Path, tmp_path: Path
) -> None:
    ordered = order("litert", "none", tmp_path / "none", cold="page_cache_dropped")
    said = run(runner, tflite, ordered)
    assert (said.code, said.events) == (2, ())
    assert "cannot open" in said.stderr
    ordered = order("litert", "none", word(tmp_path, "fine"), cold="page_cache_dropped")
    said = run(runner, tflite, ordered, DISTILLFARM_LAUNCH_NS="1")
    assert (said.code, said.events) == (2, ())


def test_odd_names_are_escaped_and_what_is_no_utf8_is_replaced(
    runner: Path, tmp_path: Path
) -> None:
    odd = b'/no/"q"\\\n\t\x01\x7f\xc3\xa9\xff\xed\xa0\x80\xf0\x9f\x98\x80.so'
    arguments: list[bytes | str] = [*order("litert", "none", tmp_path).to_arguments()]
    said = run_with(runner, [*arguments, b"library=" + odd, b"version="])
    assert isinstance(said.last, reports.RuntimeMissing)
    shown = '/no/"q"\\\n\t\x01\x7fé' + "�" * 4 + "😀.so"
    assert said.reason.startswith(shown)


def test_a_flood_of_output_neither_blocks_nor_mixes_with_the_answers(
    runner: Path, tflite: Path, tmp_path: Path
) -> None:
    said = run(runner, tflite, order("litert", "none", word(tmp_path, "flood")))
    assert len(said.events) == 4
    assert said.finished
    assert said.stderr.count("one more line") == 20000


def test_a_reader_that_goes_away_ends_the_runner(
    runner: Path, tflite: Path, tmp_path: Path
) -> None:
    ordered = order("litert", "none", word(tmp_path, "fine"), max_sampling_s=30.0)
    endless = ordered._replace(iterations=10**7)
    arguments = [*endless.to_arguments(), f"library={tflite}", "version="]
    reading, writing = os.pipe()
    process = subprocess.Popen([runner, *arguments], stdout=writing, stderr=subprocess.DEVNULL)
    os.close(writing)
    os.close(reading)
    assert process.wait(timeout=20) != 0


@pytest.mark.parametrize(
    ("delegate", "placements"),
    [
        ("none", (Placement("BUILTIN", 3),)),
        ("xnnpack", (Placement("XNNPACK", 2), Placement("BUILTIN", 1))),
    ],
)
def test_tflite_tells_what_a_delegate_took(
    runner: Path, tflite: Path, tmp_path: Path, delegate: str, placements: tuple[Placement, ...]
) -> None:
    said = run(runner, tflite, order("litert", delegate, word(tmp_path, "fine")))
    assert said.finished.placements == placements
    assert said.finished.version == "2.16.1"


def stages(said: Said) -> list[type]:
    return [type(each) for each in said.events]


class Refusal(NamedTuple):
    """A word of the stand-in library, and how the runner tells what it leads to."""

    text: str
    delegate: str
    event: type[reports.Event]
    words: str


REFUSALS = [
    Refusal("fine", "gpu", reports.RuntimeRefused, "GPU took none of the model's operators"),
    Refusal("own xnnpack", "none", reports.RuntimeRefused, "applies XNNPACK"),
    Refusal("no kernel", "none", reports.RuntimeRefused, "no kernel for FFT 3D"),
    Refusal("no memory", "none", reports.MemoryRefused, "Failed to allocate memory"),
    Refusal("", "none", reports.RuntimeRefused, "not a valid Flatbuffer"),
    Refusal("fine", "hexagon", reports.RuntimeRefused, "LiteRT 2.16.1 here has no 'hexagon'"),
]


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: f"{case.text}-{case.delegate}")
def test_tflite_refusals_have_the_runtimes_words(
    runner: Path, tflite: Path, tmp_path: Path, case: Refusal
) -> None:
    said = run(runner, tflite, order("litert", case.delegate, word(tmp_path, case.text)))
    assert type(said.last) is case.event
    assert case.words in said.reason


def test_a_crash_in_the_first_inference_is_seen_as_such(
    runner: Path, tflite: Path, tmp_path: Path
) -> None:
    said = run(runner, tflite, order("litert", "none", word(tmp_path, "crash")))
    assert said.code == -6
    assert stages(said) == [reports.RuntimeLoaded, reports.ModelLoaded]
