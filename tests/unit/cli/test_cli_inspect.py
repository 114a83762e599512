"""``inspect`` without a farm: readable tables, the facts as JSON, one line for each mistake."""

import io
from pathlib import Path

import format_models
import msgspec
import numpy as np
import pytest
from cli_lab import Run
from rich.console import Console

from distillfarm.cli.analysis_tables import bar, layer_table, sensitivity_table
from distillfarm.domain.model import (
    Analysis,
    LayerCost,
    ModelFormat,
    Sensitivity,
    Signature,
)

COLUMNS = 100


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return format_models.write("onnx", tmp_path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    path = tmp_path / "data.npz"
    images = random.normal(size=(200, 3, 32, 32)).astype(np.float32)
    np.savez(path, image=images, label=random.integers(0, 4, 200))
    return path


@pytest.mark.slow
def test_a_model_is_shown_with_what_follows_from_it(
    run_cli: Run, model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    shown = run_cli("inspect", str(model), "--data", str(data))
    assert shown.exit_code == 0, shown.output
    for text in (
        "194,432",
        "Layers, the costliest first",
        "int8",
        "low_rank",
        "What follows",
        "- onnxruntime: int8_static;",
    ):
        assert text in shown.stdout
    tables = shown.stdout.split("Times:")[0]
    assert max(map(len, tables.splitlines())) <= COLUMNS
    assert "█" in tables


@pytest.mark.slow
def test_json_holds_the_whole_analysis(run_cli: Run, model: Path) -> None:
    shown = run_cli("inspect", str(model), "--json")
    found = msgspec.json.decode(shown.stdout, type=Analysis)
    assert found.macs == format_models.MACS
    assert {each.name for each in found.layers} == {"conv", "relu", "pool", "flatten", "dense"}
    assert "ONNX Runtime" in found.profile


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--data", "nowhere.npz"], "data: there is no file nowhere.npz"),
        (["--evaluator", "judge.py:f"], "evaluator 'judge.py:f': there is no file judge.py"),
        (["--factory", "nothing"], "factory 'nothing': write file.py:function"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    run_cli: Run, model: Path, options: list[str], says: str
) -> None:
    shown = run_cli("inspect", str(model), *options)
    assert shown.exit_code == 1
    assert says in " ".join(shown.output.split())


def test_an_evaluator_without_data_is_refused(run_cli: Run, model: Path, tmp_path: Path) -> None:
    judge = tmp_path / "judge.py"
    judge.write_text("def f(outputs, targets):\n    return 1.0\n")
    shown = run_cli("inspect", str(model), "--evaluator", f"{judge}:f")
    assert shown.exit_code == 1
    assert "give --data too" in shown.output


def test_a_bar_is_as_long_as_its_share() -> None:
    assert bar(0.0) == ""
    assert bar(0.5) == "█" * 6
    assert bar(7.0) == "█" * 12
    assert len(bar(0.51)) == 7


def printed(*parts: object) -> str:
    console = Console(width=COLUMNS, file=io.StringIO(), record=True)
    console.print(*parts)
    return console.export_text()


def test_tables_fit_however_long_the_names() -> None:
    layers = tuple(
        LayerCost(f"block.{index}.{'deep.' * 30}conv", "operator" * 20, 10**9, 10**7, 1, 1, 9.5)
        for index in range(30)
    )
    analysis = Analysis(ModelFormat.ONNX, Signature((), ()), 1, 1, 1, (), (), (), layers=layers)
    text = printed(layer_table(analysis, 5))
    assert max(len(line.rstrip()) for line in text.splitlines()) <= COLUMNS
    assert "25 layers more" in text
    assert "83%" in text


def test_the_layer_that_minds_most_comes_first() -> None:
    found = [
        Sensitivity("calm", "int8", 1e-6, 0.0),
        Sensitivity("touchy", "int8", 0.5, 12.5),
        Sensitivity("touchy", "prune", 0.5, -1.0),
    ]
    text = printed(sensitivity_table(found, 10))
    assert text.index("touchy") < text.index("calm")
    assert "+12.50" in text
    assert "-1.00" in text
