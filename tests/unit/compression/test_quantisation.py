"""Quantised files run, weigh what arithmetic says, answer like the float model, or are refused."""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_models
from ai_edge_quantizer import quantizer, recipe
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, quantize_static

from distillfarm.compression import registry
from distillfarm.compression.datasets import Array, load_test
from distillfarm.compression.inference import open_model
from distillfarm.compression.passes import calibration, disturbance, int8_static
from distillfarm.compression.passes.tflite_files import signature_key
from distillfarm.compression.protocols import PassRefused, WorkingModel, Workspace
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.recipe import parse_recipe

Exported = Callable[[str, str], tuple[tiny_models.Problem, WorkingModel]]
_ONNX, _LITERT = "onnxruntime", "litert"


@pytest.fixture(scope="module")
def exported(
    tmp_path_factory: pytest.TempPathFactory,
    image_problem: tiny_models.Problem,
    vector_problem: tiny_models.Problem,
    trap: tiny_models.Problem,
) -> Exported:
    """A trained problem and its file for a runtime, each made once."""
    problems = {"image": image_problem, "vector": vector_problem, "trap": trap}
    files: dict[tuple[str, str], WorkingModel] = {}

    def get(kind: str, runtime: str) -> tuple[tiny_models.Problem, WorkingModel]:
        if kind not in problems:
            problems[kind] = tiny_models.trained(kind, tmp_path_factory.mktemp(kind) / "problem")
        problem, target = problems[kind], parse_target(runtime)
        if (kind, runtime) not in files:
            exporter = registry.exporter(target.runtime)
            workspace = problem.workspace(tmp_path_factory.mktemp("export") / "w")
            path = exporter.export(problem.model, target, workspace)
            files[kind, runtime] = WorkingModel(path, exporter.format)
        return problem, files[kind, runtime]

    return get


def run(
    problem: tiny_models.Problem, source: WorkingModel, text: str, folder: Path
) -> tuple[WorkingModel, Workspace]:
    spec = parse_recipe(text).passes[0]
    workspace = problem.workspace(folder)
    return registry.compression_pass(spec.name).run(source, spec, workspace), workspace


def answers(problem: tiny_models.Problem, model: WorkingModel) -> tuple[Array, Array]:
    """Outputs on the test split, and the labels."""
    opened = open_model(model, 1)
    samples = load_test(problem.data, opened.signature, 0)
    return next(iter(opened(samples.inputs).values())), samples.labels


def accuracy(problem: tiny_models.Problem, model: WorkingModel) -> float:
    scores, labels = answers(problem, model)
    return float((scores.argmax(axis=1) == labels).mean())


def error(problem: tiny_models.Problem, source: WorkingModel, made: WorkingModel) -> float:
    """The norm of the difference of all answers, over that of the float model's."""
    wanted, found = (answers(problem, each)[0].astype(np.float64) for each in (source, made))
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def size(model: WorkingModel) -> int:
    return model.path.stat().st_size


# Bytes that a weight takes instead of 4; a block of 32 shares a scale of 4 bytes.
_INT8, _INT4, _FP16 = 1, 0.5 + 4 / 32, 2


@dataclasses.dataclass(frozen=True)
class Case:
    """A pass on a model; ``furthest`` bounds the relative error of its answers."""

    kind: str
    text: str
    weights: int
    bytes_each: float
    furthest: float

    def __str__(self) -> str:
        return f"{self.kind}-{self.text}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        Case("image", "int8_static", 18_912, _INT8, 0.02),
        Case("image", "int8_static(calibration=percentile)", 18_912, _INT8, 0.05),
        Case("image", "int8_static(calibration=entropy)", 18_912, _INT8, 0.2),
        Case("image", "int8_static(activations=symmetric,weights=tensor)", 18_912, _INT8, 0.02),
        Case("image", "int8_static(reduce_range=yes)", 18_912, _INT8, 0.03),
        Case("image", "int8_static(operators=all)", 18_912, _INT8, 0.02),
        Case("image", "fp16", 18_912, _FP16, 0.002),
        Case("image", "fp16(compute=half)", 18_912, _FP16, 0.002),
        Case("tokens", "int8_static", 68_288, _INT8, 0.02),
        Case("tokens", "int8_dynamic", 68_288, _INT8, 0.02),
        Case("tokens", "int8_dynamic(weights=tensor,reduce_range=yes)", 68_288, _INT8, 0.03),
        Case("tokens", "int4", 68_288, _INT4, 0.1),
        Case("tokens", "int4(weights=asymmetric,compute=int8)", 68_288, _INT4 + 1 / 64, 0.1),
    ],
    ids=str,
)
def test_onnx_files_weigh_what_arithmetic_says_and_answer_alike(
    exported: Exported, tmp_path: Path, case: Case
) -> None:
    problem, source = exported(case.kind, _ONNX)
    made, _ = run(problem, source, case.text, tmp_path / "w")
    saved = size(source) - size(made)
    assert 0.85 < saved / (case.weights * (4 - case.bytes_each)) < 1.1
    assert error(problem, source, made) < case.furthest
    assert accuracy(problem, made) >= accuracy(problem, source) - 0.02


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        Case("image", "int8_static", 18_912, _INT8, 0.02),
        Case("image", "int8_static(activations=symmetric,weights=tensor)", 18_912, _INT8, 0.02),
        Case("image", "int8_dynamic", 18_912, _INT8, 0.02),
        Case("image", "int8_dynamic(compute=float)", 18_912, _INT8, 0.02),
        # 192 weights in fully connected layers, the rest by channel.
        Case("image", "int4", 18_624, 0.5, 0.15),
        Case("image", "fp16", 18_912, _FP16, 0.002),
        Case("tokens", "int8_static", 68_288, _INT8, 0.02),
        Case("tokens", "int8_dynamic", 68_288, _INT8, 0.02),
        Case("tokens", "int4(block=64)", 68_288, 0.5 + 2 / 64, 0.15),
    ],
    ids=str,
)
def test_tflite_files_weigh_what_arithmetic_says_and_answer_alike(
    exported: Exported, tmp_path: Path, case: Case
) -> None:
    problem, source = exported(case.kind, _LITERT)
    made, _ = run(problem, source, case.text, tmp_path / "w")
    saved = size(source) - size(made)
    assert 0.8 < saved / (case.weights * (4 - case.bytes_each)) < 1.1
    assert error(problem, source, made) < case.furthest
    assert accuracy(problem, made) >= accuracy(problem, source) - 0.02


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("int8_static(calibration=entropy)", "calibration=entropy"),
        ("int8_static(calibration=percentile)", "calibration=percentile"),
        ("int8_static(reduce_range=yes)", "reduce_range=yes"),
        ("int8_dynamic(reduce_range=yes)", "reduce_range=yes"),
        ("int4(weights=asymmetric)", "weights=asymmetric"),
        ("int4(block=16)", "block=16"),
        ("int4(compute=int8)", "compute=int8"),
        ("fp16(compute=half)", "compute"),
    ],
    ids=str,
)
def test_what_litert_cannot_do_is_refused_by_the_settings_name(
    exported: Exported, tmp_path: Path, text: str, setting: str
) -> None:
    problem, source = exported("vector", _LITERT)
    with pytest.raises(PassRefused, match=setting):
        run(problem, source, text, tmp_path / "w")


def test_a_percentile_that_nobody_would_read_is_a_mistake() -> None:
    spec = parse_recipe("int8_static(percentile=99.9)").passes[0]
    with pytest.raises(InvalidRequest, match="needs calibration=percentile"):
        registry.compression_pass("int8_static").check(spec)


def test_what_onnx_runtime_cannot_do_is_refused_by_the_settings_name(
    exported: Exported, tmp_path: Path
) -> None:
    problem, source = exported("vector", _ONNX)
    with pytest.raises(PassRefused, match="compute=float"):
        run(problem, source, "int8_dynamic(compute=float)", tmp_path / "w")


def test_int4_of_a_convolutional_net_is_refused_with_what_holds_its_weights(
    exported: Exported, tmp_path: Path
) -> None:
    problem, source = exported("image", _ONNX)
    told = r"no kernel .*Conv \(18,720 weights, 100 %\); use int8_static"
    with pytest.raises(PassRefused, match=told):
        run(problem, source, "int4", tmp_path / "w")


def test_too_few_calibration_samples_are_refused_with_how_many_to_give(
    exported: Exported, tmp_path: Path
) -> None:
    problem, source = exported("vector", _ONNX)
    with np.load(problem.data) as data:
        np.savez(tmp_path / "few.npz", x=data["x"][:60], label=data["label"][:60])
    few = dataclasses.replace(problem, data=tmp_path / "few.npz")
    with pytest.raises(PassRefused, match=r"at least 16 are needed: give 320 samples or more"):
        run(few, source, "int8_static", tmp_path / "w")


def test_static_int8_of_an_encoder_is_closer_than_onnx_runtimes_defaults(
    exported: Exported, tmp_path: Path
) -> None:
    problem, source = exported("tokens", _ONNX)
    made, workspace = run(problem, source, "int8_static", tmp_path / "w")
    batches = calibration.batches(problem.signature, workspace, 256)

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # untyped library
        def __init__(self) -> None:
            self._left = iter(batches)

        def get_next(self) -> dict[str, Array] | None:
            return next(self._left, None)

    stock = WorkingModel(tmp_path / "stock.onnx", ModelFormat.ONNX)
    quantize_static(source.path, stock.path, Reader())
    assert error(problem, source, made) < error(problem, source, stock)


@pytest.mark.slow
def test_plain_ranges_are_no_further_off_than_litert_moving_average(
    exported: Exported, tmp_path: Path
) -> None:
    problem, source = exported("image", _LITERT)
    made, workspace = run(problem, source, "int8_static", tmp_path / "w")
    batches = calibration.batches(open_model(source, 1).signature, workspace, 256)
    engine = quantizer.Quantizer(str(source.path), recipe.static_wi8_ai8())
    ranges = engine.calibrate({signature_key(source.path): batches}, num_threads=1)
    stock = WorkingModel(tmp_path / "stock.tflite", ModelFormat.TFLITE)
    stock.path.write_bytes(engine.quantize(ranges).quantized_model)
    assert error(problem, source, made) <= error(problem, source, stock)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", [_ONNX, _LITERT])
def test_mixed_precision_saves_what_int8_destroys_and_names_the_layer(
    exported: Exported, tmp_path: Path, runtime: str
) -> None:
    problem, source = exported("trap", runtime)
    broken, told = run(problem, source, "int8_static", tmp_path / "static")
    assert accuracy(problem, broken) < 0.6
    (named,) = (each for each in told.notes if "minds most" in each)
    made, workspace = run(problem, source, "mixed", tmp_path / "mixed")
    assert accuracy(problem, made) > 0.97
    (note,) = workspace.notes
    assert note.startswith("kept ")
    worst = named.partition("minds most is ")[2].partition(" (alone")[0]
    assert f"first: {worst} (alone: divergence" in note


def test_mixed_precision_keeps_nothing_where_nothing_minds(
    exported: Exported, tmp_path: Path
) -> None:
    problem, source = exported("image", _ONNX)
    made, workspace = run(problem, source, "mixed", tmp_path / "mixed")
    plain, _ = run(problem, source, "int8_static", tmp_path / "static")
    assert made.path.read_bytes() == plain.path.read_bytes()
    assert any("no layer had to stay" in each for each in workspace.notes)


def test_a_limit_that_half_the_layers_cannot_hold_is_refused(
    exported: Exported, tmp_path: Path
) -> None:
    problem, source = exported("vector", _ONNX)
    with np.load(problem.data) as data:
        np.savez(tmp_path / "floats.npz", x=data["x"], label=data["label"].astype(np.float32))
    numbers = dataclasses.replace(problem, data=tmp_path / "floats.npz")
    with pytest.raises(PassRefused, match=r"layers in floating point .* still move, limit 0;"):
        run(numbers, source, "mixed(limit=0)", tmp_path / "w")


def test_sensitivity_finds_the_layer_that_minds(exported: Exported, tmp_path: Path) -> None:
    problem, source = exported("trap", _ONNX)
    workspace = problem.workspace(tmp_path / "w")
    quantiser = int8_static.opened(source, int8_static.Int8StaticSettings(), workspace)
    found = disturbance.sensitivities(
        quantiser,
        disturbance.reference(source, workspace),
        "int8_static",
        workspace.folder,
        lambda _done: None,
    )
    assert {each.layer for each in found} == set(quantiser.layers)
    assert found[0].divergence > 0
    assert found[0].drop_points > 40
    assert [each.divergence for each in found] == sorted(
        (each.divergence for each in found), reverse=True
    )


def test_weights_that_are_no_initialisers_are_quantised_all_the_same(tmp_path: Path) -> None:
    # As older exporters leave them: a Constant node, transposed and reshaped before its use.
    weight = np.random.default_rng(0).normal(size=(4, 8, 64)).astype(np.float32)
    nodes = [
        helper.make_node("Constant", [], ["raw"], value=numpy_helper.from_array(weight)),
        helper.make_node("Constant", [], ["shape"], value_ints=[32, 64]),
        helper.make_node("Reshape", ["raw", "shape"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "turned"], ["scores"]),
    ]
    problem, source = _handmade(tmp_path, nodes, {}, width=64, classes=32)
    for text, largest in (("int8_dynamic", 4_000), ("int8_static", 4_500), ("int4", 2_500)):
        made, workspace = run(problem, source, text, tmp_path / text)
        assert workspace.notes == ["quantised 2,048 of 2,048 weights"]
        assert size(made) < largest < size(source)
        assert error(problem, source, made) < 0.2


@pytest.mark.parametrize("samples", [128, 130])
def test_ranges_come_from_every_calibration_sample(tmp_path: Path, samples: int) -> None:
    weight = np.eye(32, dtype=np.float32)
    nodes = [helper.make_node("MatMul", ["x", "weight"], ["scores"])]
    problem, source = _handmade(tmp_path, nodes, {"weight": weight}, width=32, classes=32)
    given = np.random.default_rng(0).normal(size=(2_700, 32)).astype(np.float32)
    given[: len(given) // 2] *= 10  # what comes last alone would say little of what comes first
    np.savez(tmp_path / "more.npz", x=given, label=np.zeros(len(given), np.int64))
    more = dataclasses.replace(problem, data=tmp_path / "more.npz")
    made, _ = run(more, source, f"int8_static(samples={samples})", tmp_path / "w")
    assert error(more, source, made) < 0.05


def test_an_lstm_is_quantised_and_still_answers_alike(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    weights = {
        "input": generator.normal(scale=0.3, size=(1, 64, 32)).astype(np.float32),
        "state": generator.normal(scale=0.3, size=(1, 64, 16)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Unsqueeze", ["x", "first"], ["steps"]),
        helper.make_node("LSTM", ["steps", "input", "state"], ["all"], hidden_size=16),
        helper.make_node("Squeeze", ["all", "axes"], ["scores"]),
    ]
    whole = {"first": np.array([0]), "axes": np.array([0, 1])}
    problem, source = _handmade(tmp_path, nodes, {**weights, **whole}, width=32, classes=16)
    made, workspace = run(problem, source, "int8_dynamic", tmp_path / "w")
    assert workspace.notes == ["quantised 3,072 of 3,072 weights"]
    assert error(problem, source, made) < 0.05


def test_weights_inside_branches_are_counted_and_the_refusal_says_so(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)

    def branch(name: str) -> onnx.GraphProto:
        weight = numpy_helper.from_array(
            generator.normal(size=(64, 8)).astype(np.float32), f"{name}_weight"
        )
        node = helper.make_node("MatMul", ["x", weight.name], [f"{name}_scores"])
        output = helper.make_tensor_value_info(f"{name}_scores", TensorProto.FLOAT, ["N", 8])
        return helper.make_graph([node], name, [], [output], [weight])

    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node(
            "If", ["positive"], ["scores"], then_branch=branch("a"), else_branch=branch("b")
        ),
    ]
    zero = {"zero": np.array(0, np.float32)}
    problem, source = _handmade(tmp_path, nodes, zero, width=64, classes=8)
    with pytest.raises(PassRefused, match=r"a branch of If \(1,024 weights, 100 %\)"):
        run(problem, source, "int8_static", tmp_path / "w")


def test_an_old_file_with_a_lookup_becomes_int4_in_a_version_that_has_it(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    weights = {
        "table": generator.normal(size=(100, 64)).astype(np.float32),
        "head": generator.normal(size=(64, 8)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["x"], ["tokens"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "tokens"], ["rows"]),
        # Its axes became an input in version 18.
        helper.make_node("ReduceMean", ["rows"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "head"], ["scores"]),
    ]
    problem, source = _handmade(tmp_path, nodes, weights, width=5, classes=8)
    made, workspace = run(problem, source, "int4", tmp_path / "w")
    assert workspace.notes[0] == "quantised 6,912 of 6,912 weights"
    assert onnx.load(made.path).opset_import[0].version >= 21
    assert error(problem, source, made) < 0.2


def test_a_weight_beyond_half_precision_is_refused_by_name(tmp_path: Path) -> None:
    weights = {"huge": np.full((4, 3), 1e6, np.float32)}
    nodes = [helper.make_node("MatMul", ["x", "huge"], ["scores"])]
    problem, source = _handmade(tmp_path, nodes, weights, width=4, classes=3)
    with pytest.raises(PassRefused, match=r"weight huge .*65,504"):
        run(problem, source, "fp16", tmp_path / "w")


def test_quantisers_leave_the_log_as_they_found_it(exported: Exported, tmp_path: Path) -> None:
    problem, source = exported("vector", _ONNX)
    run(problem, source, "int4", tmp_path / "w")
    assert logging.getLogger().level in (logging.NOTSET, logging.WARNING)


def _handmade(
    folder: Path,
    nodes: list[onnx.NodeProto],
    weights: Mapping[str, Array],
    *,
    width: int,
    classes: int,
) -> tuple[tiny_models.Problem, WorkingModel]:
    """An opset 13 file from ``x`` [N, width] to ``scores`` [N, classes], with data it is right on.

    The inputs are small whole numbers as floats.
    """
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "handmade",
        [value("x", TensorProto.FLOAT, ["N", width])],
        [value("scores", TensorProto.FLOAT, ["N", classes])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opset = [helper.make_opsetid("", 13)]
    source = WorkingModel(folder / "handmade.onnx", ModelFormat.ONNX)
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), source.path)
    inputs = np.random.default_rng(1).integers(0, 9, (400, width)).astype(np.float32)
    model = open_model(source, 1)
    labels = model({"x": inputs})["scores"].argmax(axis=1)
    np.savez(folder / "data.npz", allow_pickle=False, x=inputs, label=labels)
    return tiny_models.Problem(source, folder / "data.npz", model.signature), source
