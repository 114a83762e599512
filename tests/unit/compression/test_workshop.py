"""Whole recipes through the workshop, every piece of work in a sandboxed process of its own."""

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import one_process
import pytest
import tiny_models
import torch

from distillfarm.compression.gate import GateLimits
from distillfarm.compression.inference import open_model
from distillfarm.compression.protocols import ExportRefused, PassRefused, WorkingModel
from distillfarm.compression.workshop import Workshop
from distillfarm.domain.errors import Cancelled, InvalidRequest
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.model import ArtifactRef, Dataset, ModelFormat, SourceModel
from distillfarm.domain.recipe import pass_spec
from distillfarm.domain.variant import Exported, PassOutcome, SliceKind, Variant
from distillfarm.sandbox import tasks
from distillfarm.sandbox.limits import Limits
from distillfarm.wire.blobs import LocalBlobs

pytestmark = pytest.mark.slow


@dataclass
class Shop:
    """A workshop over blobs in a folder, with the data of a problem."""

    folder: Path
    blobs: LocalBlobs
    work: Workshop
    dataset: Dataset
    data: Path

    def source(self, path: Path, form: ModelFormat) -> SourceModel:
        digest = self.blobs.put_file(path)
        return SourceModel(ArtifactRef(digest, path.stat().st_size, form, path.name))

    def build(self, teacher: Variant, recipe: str, target: str) -> Exported:
        return one_process.build(self.work, teacher, self.dataset, recipe, target)

    def build_at_once(self, path: Path, form: ModelFormat, recipe: str, target: str) -> Exported:
        """From the source, in one process: what comes of it is the same, and sooner there."""
        folder, source = self.folder / "at_once", self.source(path, form).artifact
        order = one_process.Order(str(path), source, str(self.data), recipe, target)
        built = tasks.run("one_process:built", order, Exported, limits=Limits(), folder=folder)
        self.blobs = LocalBlobs(folder / "blobs")
        return built


def opened(
    folder: Path, data: Path, limits: GateLimits | None = None, blobs: LocalBlobs | None = None
) -> Shop:
    blobs = blobs or LocalBlobs(folder / "blobs")
    work = Workshop(blobs, folder / "work", Limits(), gate_limits=limits)
    return Shop(folder, blobs, work, Dataset(blobs.put_file(data)), data)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> LocalBlobs:
    return LocalBlobs(tmp_path_factory.mktemp("files"))


@pytest.fixture
def shop(image_problem: tiny_models.Problem, files: LocalBlobs, tmp_path: Path) -> Iterator[Shop]:
    shop = opened(tmp_path, image_problem.data, blobs=files)
    yield shop
    left = sorted(each.name for each in (tmp_path / "work").iterdir())
    assert left == ["cache", "unfinished"], "scratch left behind"


@pytest.fixture(scope="module")
def teacher(
    image_problem: tiny_models.Problem,
    files: LocalBlobs,
    tmp_path_factory: pytest.TempPathFactory,
) -> Variant:
    """Read once: no test changes it."""
    shop = opened(tmp_path_factory.mktemp("ingest"), image_problem.data, blobs=files)
    source = shop.source(image_problem.model.path, ModelFormat.TORCH_MODULE)
    return shop.work.ingest(source, shop.dataset)


def test_a_recipe_becomes_an_artifact_with_its_evidence(shop: Shop, teacher: Variant) -> None:
    exported = shop.build(teacher, "prune(ratio=0.5)+int8_static", "onnxruntime")
    assert str(exported.candidate) == "prune(ratio=0.5)+int8_static on onnxruntime/cpu/cpu"
    assert [each.spec.name for each in exported.reports] == ["prune", "convert", "int8_static"]
    assert {each.outcome for each in exported.reports} == {PassOutcome.APPLIED}
    assert exported.reports[0].parameters_after < exported.reports[0].parameters_before
    assert exported.reports[0].curve
    logs = [shop.blobs.path(each.log_digest).read_text() for each in exported.reports]
    assert "curve: epoch 1, loss" in logs[0]
    assert "epoch 1 of" in logs[0]
    assert f"note: {exported.reports[0].notes[0]}"[:80] in logs[0]
    assert "trying torch.onnx" in logs[1]
    assert exported.max_abs_error is not None
    assert exported.max_abs_error < 1e-4
    assert exported.quality.samples < exported.test_quality.samples
    assert exported.quality.value > 0.9
    assert exported.artifact.size_bytes < teacher.artifact.size_bytes / 3
    assert not list((shop.folder / "work" / "unfinished").iterdir())
    model = WorkingModel(shop.blobs.path(exported.artifact.digest), ModelFormat.ONNX)
    inputs = dict(np.load(shop.blobs.path(exported.inputs_digest)))
    expected = dict(np.load(shop.blobs.path(exported.expected_digest)))
    answers = open_model(model, 1)(inputs)
    assert len(inputs["x"]) == len(expected["scores"]) == 8
    worst = np.abs(answers["scores"] - expected["scores"]).max()
    assert worst <= exported.tolerance * np.abs(expected["scores"]).max()


@pytest.mark.parametrize(
    ("recipe", "target"),
    [
        ("distill(width=0.5,epochs=3)+int8_static", "litert"),
        ("prune(ratio=0.5,epochs=2)+low_rank(rank=ratio,epochs=2)+mixed", "onnxruntime"),
        ("qat(epochs=2)+int8_static", "onnxruntime"),
        ("sparsify(ratio=0.7,epochs=2)+cluster(bits=3,epochs=2)+fp16", "litert"),
    ],
)
def test_another_process_gives_the_same_bytes(
    shop: Shop, teacher: Variant, image_problem: tiny_models.Problem, recipe: str, target: str
) -> None:
    """Nor does it matter whether the steps have a process each, or one together."""
    first = shop.build(teacher, recipe, target)
    path = image_problem.model.path
    second = shop.build_at_once(path, ModelFormat.TORCH_MODULE, recipe, target)
    assert first.artifact.digest == second.artifact.digest
    assert (first.inputs_digest, first.expected_digest) == (
        second.inputs_digest,
        second.expected_digest,
    )


def test_the_source_exported_as_it_is_has_lost_nothing(shop: Shop, teacher: Variant) -> None:
    exported = shop.build(teacher, "original", "litert")
    for drop in (exported.quality_drop, exported.test_drop):
        assert (drop.value, drop.low, drop.high) == (0.0, 0.0, 0.0)


def test_an_artifact_says_what_one_number_hides(
    shop: Shop, teacher: Variant, image_problem: tiny_models.Problem
) -> None:
    with np.load(image_problem.data) as archive:
        arrays = dict(archive)
    arrays["group"] = np.where(np.arange(len(arrays["label"])) % 2, "odd", "even")
    arrays["held_out"] = np.ones(len(arrays["label"]), bool)
    np.savez(shop.folder / "grouped.npz", allow_pickle=False, **arrays)
    shop.dataset = Dataset(shop.blobs.put_file(shop.folder / "grouped.npz"))
    exported = shop.build(teacher, "int8_static", "onnxruntime")
    detail = exported.detail
    assert detail is not None
    assert detail.agreement is not None
    assert detail.agreement.value > 0.9
    half = (exported.test_drop.high - exported.test_drop.low) / 2
    assert detail.resolution_points == pytest.approx(half)
    counted: dict[SliceKind, list[int]] = {}
    for each in detail.slices:
        counted.setdefault(each.kind, []).append(each.after.samples)
    assert {kind: len(counts) for kind, counts in counted.items()} == {
        SliceKind.CLASS: 3,
        SliceKind.GROUP: 2,
        SliceKind.SHIFT: 3,
    }
    samples = exported.test_quality.samples
    assert sum(counted[SliceKind.CLASS]) == sum(counted[SliceKind.GROUP]) == samples
    assert not detail.notes


def test_without_labels_quality_is_agreement_with_the_source(
    shop: Shop, teacher: Variant, image_problem: tiny_models.Problem
) -> None:
    with np.load(image_problem.data) as archive:
        arrays = dict(archive)
    del arrays["label"]
    np.savez(shop.folder / "bare.npz", allow_pickle=False, **arrays)
    shop.dataset = Dataset(shop.blobs.put_file(shop.folder / "bare.npz"))
    analysis = shop.work.analyse(teacher, shop.dataset)
    assert analysis.sensitivity
    assert any(
        "no labels: points lost are answers that change" in each for each in analysis.bottlenecks
    )
    exported = shop.build(teacher, "distill(width=0.5,epochs=8)+int8_static", "onnxruntime")
    assert exported.test_quality.metric == "agreement"
    assert exported.test_quality.value > 0.9
    assert exported.detail is not None
    assert exported.detail.agreement is not None
    assert exported.detail.agreement.value == exported.test_quality.value
    source = shop.build(teacher, "original", "onnxruntime")
    assert source.test_quality.value == 1.0


def test_a_core_ai_artifact_was_run_here_and_shows_a_quality_of_its_own(
    shop: Shop, teacher: Variant
) -> None:
    exported = shop.build(teacher, "original", "coreai")
    assert exported.artifact.format is ModelFormat.COREAI
    assert exported.unverified == ""
    assert exported.max_abs_error is not None
    assert exported.max_abs_error < 1e-4
    assert exported.quality.value > 0.9
    assert exported.detail is not None


def test_a_core_ml_artifact_says_that_nobody_ran_it_and_whose_quality_it_shows(
    shop: Shop, image_problem: tiny_models.Problem
) -> None:
    path = image_problem.model.path
    exported = shop.build_at_once(path, ModelFormat.TORCH_MODULE, "int8_dynamic", "coreml")
    assert exported.artifact.format is ModelFormat.COREML
    assert exported.max_abs_error is None
    assert "Core ML runs on Apple's systems alone" in exported.unverified
    assert exported.unverified.endswith(
        "quality is that of the model before the export, before int8_dynamic"
    )
    conversion, quantised = exported.reports
    assert quantised.quality is None
    assert quantised.size_after_bytes < 0.5 * conversion.size_after_bytes
    assert exported.quality.value > 0.9
    assert exported.test_drop.value == 0.0  # the source's own answers
    assert exported.detail is None
    expected = dict(np.load(shop.blobs.path(exported.expected_digest)))
    assert expected["scores"].shape == (8, tiny_models.CLASSES)
    assert exported.tolerance == 0.1


def test_int8_for_executorch_is_judged_by_running_it(
    shop: Shop, teacher: Variant, image_problem: tiny_models.Problem
) -> None:
    path = image_problem.model.path
    exported = shop.build_at_once(path, ModelFormat.TORCH_MODULE, "int8_xnnpack", "executorch")
    assert exported.artifact.format is ModelFormat.EXECUTORCH
    assert exported.unverified == ""
    assert exported.max_abs_error is None  # a pass wrote the file: its quality is what counts
    (report,) = exported.reports
    assert report.quality is not None
    assert report.quality.value > 0.9
    assert report.notes[0] == "quantised 3 of 3 operators with weights; left: none"
    assert exported.artifact.size_bytes < 0.5 * teacher.artifact.size_bytes


def test_a_pass_that_destroys_the_model_is_refused_by_name(
    trap: tiny_models.Problem, tmp_path: Path
) -> None:
    shop = opened(tmp_path, trap.data)
    teacher = shop.work.ingest(shop.source(trap.model.path, ModelFormat.TORCH_MODULE), shop.dataset)
    with pytest.raises(PassRefused, match=r"^int8_static: destroyed: accuracy fell") as caught:
        shop.build(teacher, "int8_static", "onnxruntime")
    log = shop.blobs.path(caught.value.log_digest).read_text()
    assert "destroyed accuracy fell" in log


def test_the_gates_limits_can_be_set(image_problem: tiny_models.Problem, tmp_path: Path) -> None:
    shop = opened(tmp_path, image_problem.data, GateLimits(min_saving=0.9))
    source = shop.source(image_problem.model.path, ModelFormat.TORCH_MODULE)
    with pytest.raises(PassRefused, match=r"^int8_static: unchanged: the file shrank only"):
        shop.build(shop.work.ingest(source, shop.dataset), "int8_static", "litert")


def test_a_user_evaluator_replaces_accuracy(shop: Shop, teacher: Variant) -> None:
    code = (
        b"import numpy as np\n"
        b"def recall(outputs, targets):\n"
        b"    right = outputs.argmax(1) == targets\n"
        b"    return float(right[targets == 0].mean())\n"
    )
    dataset = replace(
        shop.dataset, evaluator_digest=shop.blobs.put_bytes(code), evaluator_function="recall"
    )
    judged = replace(shop, dataset=dataset).build(teacher, "fp16", "onnxruntime")
    assert judged.test_quality.metric == "recall"
    assert judged.reports[-1].quality is not None
    assert judged.reports[-1].quality.metric == "recall"


def test_data_that_do_not_fit_are_the_users_mistake(shop: Shop, teacher: Variant) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, picture=np.zeros((40, 1, 12, 12), np.float32), label=np.zeros(40, int))
    dataset = Dataset(shop.blobs.put_bytes(buffer.getvalue()))
    with pytest.raises(InvalidRequest, match="no array named x; it has picture"):
        shop.work.apply(teacher, pass_spec("prune", ratio=0.5), dataset, teacher, 0)


def test_cancelling_ends_the_work(shop: Shop, teacher: Variant) -> None:
    begun: list[float] = []
    with pytest.raises(Cancelled):
        shop.work.apply(
            teacher,
            pass_spec("distill", width=0.5, epochs=1000),
            shop.dataset,
            teacher,
            0,
            report=lambda done, _text: begun.append(done),
            cancelled=lambda: bool(begun),
        )


class Sums(torch.nn.Module):
    """Two named inputs, two named outputs: matched by name wherever they go."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mix = torch.nn.Linear(64, 256)
        self.score = torch.nn.Linear(256, 3)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> dict[str, torch.Tensor]:
        mixed = torch.relu(self.mix(left - right))
        return {"scores": self.score(mixed), "mixed": mixed}


@pytest.mark.parametrize("target", ["onnxruntime", "litert"])
def test_a_program_with_several_inputs_and_outputs_keeps_their_names(
    tmp_path: Path, target: str
) -> None:
    left, right = torch.randn(2, 64), torch.randn(2, 64)
    batch = torch.export.Dim("batch")
    program = torch.export.export(
        Sums().eval(),
        (left, right),
        dynamic_shapes={"left": {0: batch}, "right": {0: batch}},
    )
    torch.export.save(program, tmp_path / "program.pt2")
    generator = np.random.default_rng(0)
    inputs = {
        name: generator.normal(size=(200, 64)).astype(np.float32) for name in ("left", "right")
    }
    labels = generator.integers(0, 3, 200)
    np.savez(tmp_path / "data.npz", allow_pickle=False, **inputs, label=labels)
    shop = opened(tmp_path, tmp_path / "data.npz")
    code = (
        b"def judge(outputs, targets):\n"
        b"    return float((outputs['scores'].argmax(1) == targets).mean())\n"
    )
    shop.dataset = replace(
        shop.dataset, evaluator_digest=shop.blobs.put_bytes(code), evaluator_function="judge"
    )
    source = shop.source(tmp_path / "program.pt2", ModelFormat.TORCH_EXPORT)
    teacher = shop.work.ingest(source, shop.dataset)
    exported = shop.build(teacher, "fp16", target)
    model = WorkingModel(shop.blobs.path(exported.artifact.digest), exported.artifact.format)
    signature = open_model(model, 1).signature
    assert {each.name for each in signature.inputs} == {"left", "right"}
    assert {each.name for each in signature.outputs} == {"scores", "mixed"}


@pytest.fixture(scope="module")
def keras_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained Keras model in all its forms, with its data; made in a process of its own."""
    folder = tmp_path_factory.mktemp("keras")
    tasks.run("keras_maker:make", str(folder), bool, limits=Limits(), folder=folder)
    with tarfile.open(folder / "saved_model.tar", "w") as archive:
        archive.add(folder / "saved_model", arcname=".")
    return folder


@pytest.mark.parametrize(
    ("name", "form", "target"),
    [
        ("model.keras", ModelFormat.KERAS, "onnxruntime"),
        ("model.keras", ModelFormat.KERAS, "litert"),
        ("model.h5", ModelFormat.KERAS, "litert"),
        ("saved_model.tar", ModelFormat.SAVED_MODEL, "litert"),
    ],
)
def test_keras_and_saved_models_are_exported_and_quantised(
    keras_files: Path, tmp_path: Path, name: str, form: ModelFormat, target: str
) -> None:
    shop = opened(tmp_path, keras_files / "data.npz")
    if form is ModelFormat.KERAS and target == "litert":
        # Read by PyTorch, converted by TensorFlow: in one process Keras computes with one of them.
        teacher = shop.work.ingest(shop.source(keras_files / name, form), shop.dataset)
        exported = shop.build(teacher, "int8_static", target)
    else:
        exported = shop.build_at_once(keras_files / name, form, "int8_static", target)
    assert exported.test_quality.value > 0.9
    model = WorkingModel(shop.blobs.path(exported.artifact.digest), exported.artifact.format)
    assert [each.name for each in open_model(model, 1).signature.inputs] == ["image"]


def test_a_saved_model_for_onnx_runtime_is_refused_with_the_remedy(
    keras_files: Path, tmp_path: Path
) -> None:
    shop = opened(tmp_path, keras_files / "data.npz")
    source = shop.source(keras_files / "saved_model.tar", ModelFormat.SAVED_MODEL)
    teacher = shop.work.ingest(source, shop.dataset)
    with pytest.raises(ExportRefused, match="distil it first"):
        shop.work.export(teacher, parse_target("onnxruntime"), shop.dataset, teacher, 0)
    student = shop.build(teacher, "distill(width=0.25)", "onnxruntime")
    assert student.test_quality.value > 0.9
