"""What single passes promise beyond the protocol, and the traps that they fell into before."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_models

from distillfarm.compression import gate, registry, tasks, torch_models
from distillfarm.compression.inference import open_model
from distillfarm.compression.protocols import PassRefused, WorkingModel
from distillfarm.compression.zoo.config import student
from distillfarm.compression.zoo.modules import Student
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.model import ModelFormat, Signature, TensorSpec
from distillfarm.domain.recipe import parse_recipe, pass_spec


def silent(_done: float, _text: str) -> None:
    """A report that nobody reads."""


def around(problem: tiny_models.Problem, folder: Path) -> tasks.Surroundings:
    folder.mkdir(exist_ok=True)
    teacher = tasks.ModelFile(str(problem.model.path), problem.model.format)
    cache = str(folder / "none")
    return tasks.Surroundings(str(folder), cache, str(problem.data), 0, teacher, 0, 1)


def exported(problem: tiny_models.Problem, folder: Path, runtime: str) -> tasks.ModelFile:
    surroundings = around(problem, folder)
    request = tasks.ConvertRequest(surroundings.teacher, parse_target(runtime), surroundings)
    return tasks.convert(request, silent).model


def gated(
    problem: tiny_models.Problem, source: tasks.ModelFile, text: str, folder: Path
) -> tasks.Made:
    """Apply a pass as the workshop does, in this process."""
    spec = parse_recipe(text).passes[0]
    surroundings = around(problem, folder)
    made = tasks.apply(tasks.ApplyRequest(source, spec, surroundings), silent)
    found = tasks.judge(tasks.JudgeRequest(made.model, source, surroundings), silent)
    change = gate.Change(
        size_before_bytes=Path(source.path).stat().st_size,
        size_after_bytes=Path(made.model.path).stat().st_size,
        packed_before_bytes=found.packed_before_bytes,
        packed_after_bytes=found.packed_after_bytes,
        parameters_before=1_000_000,
        parameters_after=found.parameters or 1_000_000,
        before=found.before,
        after=found.after,
        quality=found.quality,
        reference=found.reference,
        drop=found.drop,
        baseline=found.baseline,
    )
    promise = registry.compression_pass(spec.name).promise
    gate.refuse(spec, gate.judge(change, promise, gate.GateLimits()), made.notes)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
def test_a_recurrent_net_that_quantisation_destroyed_is_caught_by_name(
    trap: tiny_models.Problem, tmp_path: Path, runtime: str
) -> None:
    source = exported(trap, tmp_path / "export", runtime)
    told = r"^int8_static: destroyed: accuracy fell from 1\.000.*the layer that minds most is \w+"
    with pytest.raises(PassRefused, match=told):
        gated(trap, source, "int8_static", tmp_path / "pass")


@pytest.mark.slow
def test_a_quantiser_that_finds_nothing_to_quantise_is_caught_by_name(tmp_path: Path) -> None:
    # ONNX Runtime quantises no GRU: it would write the file anew, say nothing and end well.
    problem = tiny_models.trained("sequence", tmp_path / "problem")
    source = exported(problem, tmp_path / "export", "onnxruntime")
    with pytest.raises(PassRefused, match=r"^int8_dynamic: refused: .*GRU \(38,400 weights"):
        gated(problem, source, "int8_dynamic", tmp_path / "pass")


def test_int8_makes_the_file_a_quarter(image_problem: tiny_models.Problem, tmp_path: Path) -> None:
    source = exported(image_problem, tmp_path / "export", "onnxruntime")
    made = gated(image_problem, source, "int8_static", tmp_path / "pass")
    graph = onnx.load(made.model.path).graph
    kinds = {each.data_type for each in graph.initializer if len(each.dims) > 1}
    assert kinds == {onnx.TensorProto.INT8}
    assert Path(made.model.path).stat().st_size < 0.5 * Path(source.path).stat().st_size


def test_an_old_onnx_file_is_brought_to_where_per_channel_weights_exist(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    weights = {
        "w": generator.normal(size=(64, 3, 3, 3)).astype(np.float32),
        "w2": generator.normal(size=(64, 3)).astype(np.float32),
    }
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Conv", ["in:0", "w"], ["c"], kernel_shape=[3, 3]),
            onnx.helper.make_node("GlobalMaxPool", ["c"], ["p"]),
            onnx.helper.make_node("Flatten", ["p"], ["f"]),
            onnx.helper.make_node("Gemm", ["f", "w2"], ["out/x"]),
        ],
        "old",
        [value("in:0", onnx.TensorProto.FLOAT, ["N", 3, 16, 16])],
        [value("out/x", onnx.TensorProto.FLOAT, ["N", 3])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opset = [onnx.helper.make_opsetid("", 11)]
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=opset, ir_version=6), tmp_path / "old.onnx"
    )
    images = generator.normal(size=(400, 3, 16, 16)).astype(np.float32)
    model = WorkingModel(tmp_path / "old.onnx", ModelFormat.ONNX)
    labels = open_model(model, 1)({"in:0": images})["out/x"].argmax(1)
    np.savez(tmp_path / "data.npz", allow_pickle=False, **{"in:0": images}, label=labels)
    signature = open_model(model, 1).signature
    problem = tiny_models.Problem(model, tmp_path / "data.npz", signature)
    source = tasks.ModelFile(str(model.path), model.format)
    made = gated(problem, source, "int8_static", tmp_path / "pass")
    found = open_model(made.model.working(), 1).signature
    assert (found.inputs[0].name, found.outputs[0].name) == ("in:0", "out/x")


@pytest.mark.slow
def test_dynamic_int8_refuses_convolutions_on_onnx_runtime(
    image_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    source = exported(image_problem, tmp_path / "export", "onnxruntime")
    with pytest.raises(PassRefused, match=r"Conv.*use int8_static"):
        gated(image_problem, source, "int8_dynamic", tmp_path / "pass")


def test_too_few_calibration_samples_are_refused(
    vector_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    source = exported(vector_problem, tmp_path / "export", "onnxruntime")
    with np.load(vector_problem.data) as data:
        np.savez(tmp_path / "few.npz", x=data["x"][:60], label=data["label"][:60])
    few = dataclasses.replace(vector_problem, data=tmp_path / "few.npz")
    with pytest.raises(PassRefused, match=r"int8_static: refused: \d calibration samples"):
        gated(few, source, "int8_static", tmp_path / "pass")


@pytest.mark.slow
def test_distillation_teaches_a_smaller_student(
    image_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    workspace = image_problem.workspace(tmp_path / "w")
    distill = registry.compression_pass("distill")
    made = distill.run(image_problem.model, pass_spec("distill", width=0.5), workspace)
    pupil, teacher = torch_models.read(made.path), torch_models.read(image_problem.model.path)
    small = torch_models.parameter_count(pupil.module)
    assert small < 0.5 * torch_models.parameter_count(teacher.module)
    assert [each.epoch for each in workspace.curve] == list(range(1, len(workspace.curve) + 1))
    assert workspace.curve[-1].quality > 0.9
    assert workspace.curve[-1].loss < workspace.curve[0].loss


def test_the_teachers_answers_are_worked_out_once(
    image_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    first = image_problem.workspace(tmp_path / "first")
    spec = pass_spec("distill", width=0.5, epochs=8)
    registry.compression_pass("distill").run(image_problem.model, spec, first)
    (kept,) = (first.folder / "cache").iterdir()
    second = dataclasses.replace(
        image_problem.workspace(tmp_path / "second"), cache=first.folder / "cache"
    )
    registry.compression_pass("distill").run(image_problem.model, spec, second)
    assert not (second.folder / "cache").exists()
    with np.load(kept) as answers:
        assert answers["scores"].shape[1] == tiny_models.CLASSES


def test_a_student_of_probabilities_gives_probabilities(
    vector_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    teacher = torch_models.read(vector_problem.model.path)
    assert isinstance(teacher.module, Student)
    config = dataclasses.replace(teacher.module.config, probabilities=True)
    teacher.module.config = config
    soft = torch_models.TorchModel(teacher.module, dataclasses.replace(teacher.spec, zoo=config))
    torch_models.write(soft, tmp_path / "soft.zip")
    model = WorkingModel(tmp_path / "soft.zip", ModelFormat.TORCH_MODULE)
    problem = dataclasses.replace(vector_problem, model=model)
    workspace = problem.workspace(tmp_path / "w")
    made = registry.compression_pass("distill").run(
        model, pass_spec("distill", width=0.5), workspace
    )
    pupil = torch_models.read(made.path)
    assert pupil.spec.zoo is not None
    assert pupil.spec.zoo.probabilities
    assert workspace.curve[-1].quality > 0.8


@pytest.mark.parametrize("name", ["distill", "prune"])
def test_a_loss_that_is_not_finite_is_refused(
    vector_problem: tiny_models.Problem, tmp_path: Path, name: str
) -> None:
    spec = pass_spec(name, learning_rate=1e6, epochs=3)
    with pytest.raises(PassRefused, match="lower learning_rate"):
        registry.compression_pass(name).run(
            vector_problem.model, spec, vector_problem.workspace(tmp_path / "w")
        )


def test_pruning_what_has_no_prunable_layer_is_refused(tmp_path: Path) -> None:
    problem = tiny_models.trained("sequence", tmp_path / "problem")
    with pytest.raises(PassRefused, match="recurrent"):
        registry.compression_pass("prune").run(
            problem.model, pass_spec("prune", ratio=0.5), problem.workspace(tmp_path / "w")
        )


@pytest.mark.slow
def test_an_attention_encoder_can_be_pruned_and_quantised(tmp_path: Path) -> None:
    problem = tiny_models.trained("tokens", tmp_path / "problem")
    source = tasks.ModelFile(str(problem.model.path), problem.model.format)
    pruned = gated(problem, source, "prune(ratio=0.5,epochs=8)", tmp_path / "prune")
    model = WorkingModel(Path(pruned.model.path), ModelFormat.TORCH_MODULE)
    smaller = dataclasses.replace(problem, model=model)
    file = exported(smaller, tmp_path / "export", "litert")
    gated(problem, file, "int8_static", tmp_path / "quantise")


def test_inputs_without_a_student_are_refused_with_the_shape() -> None:
    scores = (TensorSpec("s", "float32", (-1, 3)),)
    video = Signature((TensorSpec("v", "float32", (-1, 8, 3, 32, 32)),), scores)
    with pytest.raises(InvalidRequest, match="4 dimensions after the batch"):
        student(video, 1.0)
    two = Signature(
        (TensorSpec("a", "float32", (-1, 3)), TensorSpec("b", "float32", (-1, 3))), scores
    )
    with pytest.raises(InvalidRequest, match="one input and one output"):
        student(two, 1.0)
    free = Signature((TensorSpec("x", "float32", (-1, -1, 3)),), scores)
    with pytest.raises(InvalidRequest, match="to be fixed"):
        student(free, 1.0)
