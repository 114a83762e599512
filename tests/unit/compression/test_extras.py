"""A missing extra is one line with the extra's name, wherever the import was tried."""

import sys
from pathlib import Path

import pytest
import tiny_models

from distillfarm.compression import tasks
from distillfarm.compression.extras import missing
from distillfarm.compression.inference import open_model
from distillfarm.compression.protocols import WorkingModel
from distillfarm.domain.errors import MissingExtra
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.model import ModelFormat


@pytest.mark.parametrize(
    ("runtime", "package"),
    [("coreml", "coremltools"), ("executorch", "executorch"), ("coreai", "coreai_torch")],
)
def test_an_export_without_its_converter_names_the_extra(
    vector_problem: tiny_models.Problem,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    runtime: str,
    package: str,
) -> None:
    hide(package, monkeypatch)
    source = tasks.ModelFile(str(vector_problem.model.path), vector_problem.model.format)
    around = tasks.Surroundings(
        str(tmp_path), str(tmp_path / "none"), str(vector_problem.data), 0, source, 0, 1
    )
    request = tasks.ConvertRequest(source, parse_target(runtime), around)
    line = rf"^export for {runtime}/\S+ needs pip install 'distillfarm\[compression,{runtime}\]'"
    with pytest.raises(MissingExtra, match=line):
        tasks.convert(request, lambda _done, _text: None)


def test_a_pte_without_its_runtime_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide("executorch", monkeypatch)
    monkeypatch.delitem(sys.modules, "distillfarm.compression.predictors.executorch", False)
    with pytest.raises(
        MissingExtra, match=r"a executorch model needs .*\[compression,executorch\]"
    ):
        open_model(WorkingModel(tmp_path / "model.pte", ModelFormat.EXECUTORCH), 1)


def test_a_package_that_no_extra_names_is_one_of_compressions_own() -> None:
    error = ModuleNotFoundError("No module named 'onnxscript'", name="onnxscript")
    assert str(missing("it", error)).startswith("it needs pip install 'distillfarm[compression]'")


def hide(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the next import of ``package`` fail, as it does where it is not installed."""
    for name in [each for each in sys.modules if each.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Hidden(package), *sys.meta_path])


class _Hidden:
    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == self._package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
