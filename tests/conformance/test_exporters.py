"""Every exporter keeps names and answers, repeats itself to the byte, and refuses with a remedy."""

from pathlib import Path

import pytest
import tiny_models

from distillfarm.compression import coreml_models, registry
from distillfarm.compression.inference import open_model
from distillfarm.compression.protocols import (
    Exporter,
    ExportRefused,
    WorkingModel,
    Workspace,
)
from distillfarm.domain.errors import MissingExtra
from distillfarm.domain.hardware import Runtime, Target, parse_target
from distillfarm.domain.model import ModelFormat, Signature


@pytest.fixture(scope="module", params=["image", "vector"])
def problem(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tiny_models.Problem:
    folder = tmp_path_factory.mktemp(f"exporters-{request.param}")
    return tiny_models.trained(request.param, folder / "problem")


class ExporterConformance:
    """What the Exporter protocol promises."""

    target: Target
    refused: ModelFormat

    @pytest.fixture(scope="class")
    def tested(self) -> Exporter:
        return registry.exporter(self.target.runtime)

    def signature(self, made: WorkingModel) -> Signature:
        """What the file itself says of its inputs and outputs."""
        return open_model(made, 1).signature

    def compare(
        self, tested: Exporter, made: WorkingModel, source: WorkingModel, workspace: Workspace
    ) -> None:
        """The file's answers are the source's."""
        assert 0 <= tested.verify(made.path, source, workspace) < 1e-4

    @pytest.fixture(scope="class")
    def made(
        self,
        tested: Exporter,
        problem: tiny_models.Problem,
        tmp_path_factory: pytest.TempPathFactory,
    ) -> WorkingModel:
        """The problem's model, exported once for all tests of the class."""
        source = problem.model.path.read_bytes()
        workspace = problem.workspace(tmp_path_factory.mktemp("exported") / "w")
        path = tested.export(problem.model, self.target, workspace)
        assert path.parent == workspace.folder
        assert problem.model.path.read_bytes() == source, "an exporter edited its input"
        return WorkingModel(path, tested.format)

    def test_keeps_names_and_answers(
        self,
        tested: Exporter,
        made: WorkingModel,
        problem: tiny_models.Problem,
        tmp_path: Path,
    ) -> None:
        signature = self.signature(made)
        assert [each.name for each in signature.inputs] == ["x"]
        assert [each.name for each in signature.outputs] == ["scores"]
        self.compare(tested, made, problem.model, problem.workspace(tmp_path / "w"))

    def test_gives_the_same_bytes_again(
        self,
        tested: Exporter,
        made: WorkingModel,
        problem: tiny_models.Problem,
        tmp_path: Path,
    ) -> None:
        again = tested.export(problem.model, self.target, problem.workspace(tmp_path / "w"))
        assert again.read_bytes() == made.path.read_bytes()

    def test_tells_no_folder_of_the_builder(self, made: WorkingModel) -> None:
        content = made.path.read_bytes()
        for word in (b"site-packages", b".py", str(made.path.parent).encode()):
            assert word not in content

    def test_its_own_format_is_copied(
        self,
        tested: Exporter,
        made: WorkingModel,
        problem: tiny_models.Problem,
        tmp_path: Path,
    ) -> None:
        copy = tested.export(made, self.target, problem.workspace(tmp_path / "w"))
        assert copy != made.path
        assert copy.read_bytes() == made.path.read_bytes()

    def test_a_format_that_it_cannot_take_is_refused_with_the_remedy(
        self, tested: Exporter, problem: tiny_models.Problem, tmp_path: Path
    ) -> None:
        assert self.refused not in tested.sources
        source = WorkingModel(problem.model.path, self.refused)
        with pytest.raises(ExportRefused, match="distil it first"):
            tested.export(source, self.target, problem.workspace(tmp_path / "w"))

    def test_wrong_answers_are_refused(
        self,
        tested: Exporter,
        made: WorkingModel,
        problem: tiny_models.Problem,
        tmp_path: Path,
    ) -> None:
        other = tiny_models.disturbed(problem, tmp_path / "other.zip")
        self.refuse(tested, made, other, problem.workspace(tmp_path / "w"))

    def refuse(
        self, tested: Exporter, made: WorkingModel, other: WorkingModel, workspace: Workspace
    ) -> None:
        """The file is not taken for ``other``, whose answers are different ones."""
        with pytest.raises(ExportRefused, match="the conversion is wrong"):
            tested.verify(made.path, other, workspace)


class TestOnnx(ExporterConformance):
    target = parse_target("onnxruntime")
    refused = ModelFormat.TFLITE

    def test_the_batch_is_free(self, made: WorkingModel) -> None:
        assert open_model(made, 1).signature.inputs[0].shape[0] == -1


class TestLiteRt(ExporterConformance):
    target = parse_target("litert")
    refused = ModelFormat.ONNX


@pytest.mark.slow
class TestExecuTorch(ExporterConformance):
    target = parse_target("executorch")
    refused = ModelFormat.ONNX


@pytest.mark.slow
class TestCoreAi(ExporterConformance):
    target = parse_target("coreai")
    refused = ModelFormat.ONNX

    @pytest.fixture(scope="class", autouse=True)
    def _installed(self) -> None:
        pytest.importorskip("coreai_torch", reason="pip install 'distillfarm[coreai]'")


@pytest.mark.slow
class TestCoreMl(ExporterConformance):
    """Its answers cannot be had here: it promises to say so, and never passes as verified."""

    target = parse_target("coreml")
    refused = ModelFormat.ONNX

    def signature(self, made: WorkingModel) -> Signature:
        return coreml_models.signature(made.path)

    def compare(
        self, tested: Exporter, made: WorkingModel, source: WorkingModel, workspace: Workspace
    ) -> None:
        with pytest.raises(MissingExtra, match="its answers were not"):
            tested.verify(made.path, source, workspace)

    def refuse(
        self, tested: Exporter, made: WorkingModel, other: WorkingModel, workspace: Workspace
    ) -> None:
        with pytest.raises(MissingExtra):
            tested.verify(made.path, other, workspace)


def test_every_registered_exporter_is_tested_here() -> None:
    tested = {each.target.runtime for each in ExporterConformance.__subclasses__()}
    assert tested >= {Runtime(name) for name in registry.known(registry.EXPORTERS)}
