"""Every pass keeps its input, repeats itself to the byte, and gives a model that runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_models

from distillfarm.compression import coreml_models, registry
from distillfarm.compression.inference import open_model
from distillfarm.compression.protocols import Pass, WorkingModel
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.model import ModelFormat, Signature
from distillfarm.domain.recipe import parse_recipe, pass_spec


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> tiny_models.Problem:
    return tiny_models.trained("vector", tmp_path_factory.mktemp("passes") / "problem")


@pytest.fixture(scope="module")
def exported(
    problem: tiny_models.Problem, tmp_path_factory: pytest.TempPathFactory
) -> dict[ModelFormat, WorkingModel]:
    """The same model in every format that a pass may take."""
    folder = tmp_path_factory.mktemp("exported")
    found = {ModelFormat.TORCH_MODULE: problem.model}
    for name in ("onnxruntime", "litert"):
        target = parse_target(name)
        exporter = registry.exporter(target.runtime)
        path = exporter.export(problem.model, target, problem.workspace(folder / name))
        found[exporter.format] = WorkingModel(path, exporter.format)
    return found


class PassConformance:
    """What the Pass protocol promises."""

    text: str
    """The pass with settings that make it quick."""
    source_formats: tuple[ModelFormat, ...]

    @pytest.fixture
    def tested(self) -> Pass:
        return registry.compression_pass(parse_recipe(self.text).passes[0].name)

    def signature(self, made: WorkingModel) -> Signature:
        """What the file's runtime says of its inputs and outputs."""
        return open_model(made, 1).signature

    @pytest.fixture
    def sources(self, exported: dict[ModelFormat, WorkingModel]) -> Iterator[list[WorkingModel]]:
        models = [exported[each] for each in self.source_formats]
        before = [each.path.read_bytes() for each in models]
        yield models
        assert [each.path.read_bytes() for each in models] == before, "a pass edited its input"

    def test_gives_a_model_in_its_own_folder_that_runs_under_the_same_names(
        self,
        tested: Pass,
        sources: list[WorkingModel],
        problem: tiny_models.Problem,
        tmp_path: Path,
    ) -> None:
        spec = parse_recipe(self.text).passes[0]
        for source in sources:
            assert source.format in tested.formats
            workspace = problem.workspace(tmp_path / source.format.value)
            made = tested.run(source, spec, workspace)
            assert made.path.parent == workspace.folder
            assert made.format is (tested.gives or source.format)
            signature = self.signature(made)
            assert [each.name for each in signature.inputs] == ["x"]
            assert [each.name for each in signature.outputs] == ["scores"]

    def test_the_same_seed_gives_the_same_bytes(
        self,
        tested: Pass,
        sources: list[WorkingModel],
        problem: tiny_models.Problem,
        tmp_path: Path,
    ) -> None:
        spec = parse_recipe(self.text).passes[0]
        for source in sources:
            contents = []
            for turn in ("first", "second"):
                workspace = problem.workspace(tmp_path / f"{source.format.value}-{turn}", seed=5)
                contents.append(tested.run(source, spec, workspace).path.read_bytes())
            assert contents[0] == contents[1]

    def test_reports_progress_that_never_falls(
        self,
        tested: Pass,
        sources: list[WorkingModel],
        problem: tiny_models.Problem,
        tmp_path: Path,
    ) -> None:
        seen: list[float] = []
        workspace = problem.workspace(tmp_path / "w", lambda done, _text: seen.append(done))
        tested.run(sources[0], parse_recipe(self.text).passes[0], workspace)
        assert seen
        assert seen == sorted(seen)
        assert 0 <= seen[0] <= seen[-1] <= 1

    def test_refuses_an_unknown_setting(self, tested: Pass) -> None:
        with pytest.raises(InvalidRequest, match=f"{tested.name}: unknown setting 'colour'"):
            tested.check(pass_spec(tested.name, colour="red"))


class TestDistill(PassConformance):
    text = "distill(width=0.5,epochs=8)"
    source_formats = (ModelFormat.TORCH_MODULE, ModelFormat.ONNX, ModelFormat.TFLITE)


class TestPrune(PassConformance):
    text = "prune(ratio=0.5,epochs=2)"
    source_formats = (ModelFormat.TORCH_MODULE,)


class TestPruneInSteps(PassConformance):
    text = "prune(ratio=0.7,steps=3,scope=global,importance=taylor,epochs=2,epochs_between=1)"
    source_formats = (ModelFormat.TORCH_MODULE,)


class TestLowRank(PassConformance):
    text = "low_rank(rank=sensitivity,ratio=0.4,epochs=2)"
    source_formats = (ModelFormat.TORCH_MODULE,)


class TestQat(PassConformance):
    text = "qat(epochs=2)"
    source_formats = (ModelFormat.TORCH_MODULE,)


class TestSparsify(PassConformance):
    text = "sparsify(ratio=0.5,epochs=2)"
    source_formats = (ModelFormat.TORCH_MODULE,)


class TestCluster(PassConformance):
    text = "cluster(bits=4,epochs=2)"
    source_formats = (ModelFormat.TORCH_MODULE,)


class TestInt8Static(PassConformance):
    text = "int8_static"
    source_formats = (ModelFormat.ONNX, ModelFormat.TFLITE)


class TestInt8Dynamic(PassConformance):
    text = "int8_dynamic"
    source_formats = (ModelFormat.ONNX, ModelFormat.TFLITE)


class TestInt4(PassConformance):
    text = "int4(block=16)"
    source_formats = (ModelFormat.ONNX,)


class TestInt4OnLiteRt(PassConformance):
    text = "int4"
    source_formats = (ModelFormat.TFLITE,)


class TestMixed(PassConformance):
    text = "mixed(limit=0)"
    source_formats = (ModelFormat.ONNX, ModelFormat.TFLITE)


class TestFp16(PassConformance):
    text = "fp16"
    source_formats = (ModelFormat.ONNX, ModelFormat.TFLITE)


@pytest.mark.slow
class TestInt8Xnnpack(PassConformance):
    text = "int8_xnnpack(samples=32)"
    source_formats = (ModelFormat.TORCH_MODULE,)


class OnCoreMl:
    """Passes on Core ML files, which do not run here: the file itself says what it takes."""

    source_formats: tuple[ModelFormat, ...] = (ModelFormat.COREML,)

    @pytest.fixture(scope="class")
    def exported(
        self, problem: tiny_models.Problem, tmp_path_factory: pytest.TempPathFactory
    ) -> dict[ModelFormat, WorkingModel]:
        target = parse_target("coreml")
        workspace = problem.workspace(tmp_path_factory.mktemp("coreml") / "w")
        path = registry.exporter(target.runtime).export(problem.model, target, workspace)
        return {ModelFormat.COREML: WorkingModel(path, ModelFormat.COREML)}

    def signature(self, made: WorkingModel) -> Signature:
        return coreml_models.signature(made.path)


@pytest.mark.slow
class TestDeployment(OnCoreMl, PassConformance):
    text = "deployment(ios=17)"


@pytest.mark.slow
class TestInt8DynamicOnCoreMl(OnCoreMl, PassConformance):
    text = "int8_dynamic"


@pytest.mark.slow
class TestInt4OnCoreMl(OnCoreMl, PassConformance):
    text = "int4"


@pytest.mark.slow
class TestFp16OnCoreMl(OnCoreMl, PassConformance):
    text = "fp16"


def test_every_registered_pass_is_tested_here() -> None:
    tested = {parse_recipe(each.text).passes[0].name for each in PassConformance.__subclasses__()}
    assert tested >= set(registry.known(registry.PASSES))
