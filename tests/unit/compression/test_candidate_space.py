"""Every candidate that is proposed can be planned, and none that cannot be trained is proposed."""

import dataclasses

import pytest

from distillfarm.compression import compress, registry
from distillfarm.compression.candidates import QUANTISERS, propose
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.model import (
    Analysis,
    LayerCost,
    ModelFormat,
    OperatorCount,
    Sensitivity,
    Signature,
    TensorSpec,
)

TARGETS = tuple(map(parse_target, ("onnxruntime", "litert", "coreml", "executorch", "coreai")))
IMAGE = TensorSpec("x", "float32", (-1, 3, 32, 32))
SCORES = TensorSpec("s", "float32", (-1, 10))


def analysis(form: ModelFormat, *inputs: TensorSpec, operator: str = "Gemm") -> Analysis:
    operators = (OperatorCount(operator, 3, 1000),)
    signature = Signature(inputs, (SCORES,))
    return Analysis(form, signature, 400_000, 100_000, 1000, operators, ("float32",), ())


@pytest.mark.parametrize(
    "form",
    [
        ModelFormat.KERAS,
        ModelFormat.ONNX,
        ModelFormat.SAVED_MODEL,
        ModelFormat.TFLITE,
        ModelFormat.TORCH_EXPORT,
        ModelFormat.TORCH_MODULE,
    ],
)
@pytest.mark.parametrize("inputs", [(IMAGE,), (IMAGE, SCORES)])
def test_every_candidate_can_be_planned(form: ModelFormat, inputs: tuple[TensorSpec, ...]) -> None:
    space = propose(analysis(form, *inputs), TARGETS)
    assert space
    assert len(set(space)) == len(space)
    for candidate in space:
        assert compress.steps(candidate.recipe, form, candidate.target)


def test_without_a_student_nothing_is_distilled() -> None:
    space = propose(analysis(ModelFormat.TORCH_MODULE, IMAGE, SCORES), TARGETS)
    assert not any("distill" in str(each) for each in space)
    assert any("prune" in str(each) for each in space)


def test_dynamic_int8_is_no_candidate_for_convolutions_on_onnx_runtime() -> None:
    space = propose(analysis(ModelFormat.ONNX, IMAGE, operator="Conv"), TARGETS)
    assert not any("int8_dynamic on onnxruntime" in str(each) for each in space)


def recipes(found: Analysis, target: str) -> list[str]:
    return [str(each.recipe) for each in propose(found, [parse_target(target)])]


def test_only_passes_that_are_installed_are_proposed() -> None:
    space = propose(analysis(ModelFormat.TORCH_MODULE, IMAGE), TARGETS)
    names = {each.name for candidate in space for each in candidate.recipe.passes}
    assert names <= set(registry.known(registry.PASSES))
    assert {"distill", "prune", "int8_static"} <= names


@pytest.mark.parametrize("target", ["onnxruntime", "litert", "coreml", "executorch"])
def test_a_quantiser_alone_is_the_first_look_and_the_untouched_model_the_last(target: str) -> None:
    found = recipes(analysis(ModelFormat.TORCH_MODULE, IMAGE, operator="Conv"), target)
    assert found[0] == {"coreml": "fp16", "executorch": "int8_xnnpack"}.get(target, "int8_static")
    assert found[-1] == "original"
    assert found[1].startswith("distill(width=0.5)+prune(ratio=0.5)+")


def test_core_ai_has_no_quantiser_and_is_made_smaller_by_training_alone() -> None:
    found = recipes(analysis(ModelFormat.TORCH_MODULE, IMAGE), "coreai")
    assert found[0] == "distill(width=0.5)+prune(ratio=0.5)"
    assert found[-1] == "original"
    assert not any(name in each for each in found for name in QUANTISERS)


def test_what_only_packs_smaller_is_never_proposed() -> None:
    space = propose(analysis(ModelFormat.TORCH_MODULE, IMAGE), TARGETS)
    assert not any(name in str(each) for each in space for name in ("sparsify", "cluster"))


def test_a_model_that_minds_pruning_is_pruned_gently_first() -> None:
    calm = analysis(ModelFormat.TORCH_MODULE, IMAGE)
    minds = dataclasses.replace(calm, sensitivity=(Sensitivity("conv", "prune", 0.9, 30.0),))
    first = [
        next(each for each in recipes(found, "litert") if each.startswith("prune"))
        for found in (calm, minds)
    ]
    assert first == ["prune(ratio=0.5)+int8_static", "prune(ratio=0.3)+int8_static"]


def test_a_recurrent_model_is_quantised_dynamically_first() -> None:
    found = analysis(ModelFormat.TORCH_MODULE, IMAGE)
    # PyTorch runs it as products; the layer's own name tells.
    gru = LayerCost("gru", "GRU", 1000, 1000, 4000, 100)
    assert recipes(found, "litert")[0] == "int8_static"
    assert recipes(dataclasses.replace(found, layers=(gru,)), "litert")[0] == "int8_dynamic"


def test_four_bits_are_no_candidate_where_convolutions_do_the_work() -> None:
    found = recipes(analysis(ModelFormat.TORCH_MODULE, IMAGE, operator="Conv"), "onnxruntime")
    assert not any("int4" in each for each in found)


def test_what_has_few_bits_already_is_not_quantised_again() -> None:
    narrow = dataclasses.replace(analysis(ModelFormat.ONNX, IMAGE), dtypes=("int8", "float32"))
    found = recipes(narrow, "onnxruntime")
    assert found[0] == "distill(width=0.5)+int8_static"
    assert "int8_static" not in found
    assert "original" in found


def test_four_bits_spare_the_layers_that_they_hurt() -> None:
    calm = analysis(ModelFormat.TORCH_MODULE, IMAGE)
    minds = dataclasses.replace(calm, sensitivity=(Sensitivity("fc", "int4", 0.9, 3.0),))
    assert "int4" in recipes(calm, "onnxruntime")
    assert "int4" not in recipes(minds, "onnxruntime")
    assert "mixed(technique=int4)" in recipes(minds, "onnxruntime")


def test_where_eight_bits_hurt_sparing_layers_comes_before_other_quantisers() -> None:
    calm = analysis(ModelFormat.TORCH_MODULE, IMAGE)
    minds = dataclasses.replace(calm, sensitivity=(Sensitivity("fc", "int8", 0.9, 3.0),))
    calmly, carefully = (recipes(each, "litert") for each in (calm, minds))
    assert calmly.index("fp16") < calmly.index("mixed")
    assert carefully.index("mixed") < carefully.index("fp16")


def minding(technique: str, **changes: object) -> Analysis:
    """A model of dense layers, one of which minds ``technique``."""
    found = analysis(ModelFormat.TORCH_MODULE, IMAGE)
    minds = dataclasses.replace(found, sensitivity=(Sensitivity("fc", technique, 0.9, 3.0),))
    return dataclasses.replace(minds, **changes)  # type: ignore[arg-type]


def test_where_eight_bits_hurt_training_under_them_is_among_the_first_looks() -> None:
    calm, minds = (recipes(minding(each), "litert") for each in ("prune", "int8"))
    assert "qat+int8_static" in calm[4:]
    assert "qat+int8_static" in minds[:4]


def test_where_four_bits_hurt_training_is_for_the_very_grid_of_the_target() -> None:
    for runtime in ("onnxruntime", "litert"):
        aware = f"qat(bits=4,runtime={runtime})+int4"
        assert aware in recipes(minding("int4"), runtime)
        assert aware not in recipes(minding("int8"), runtime)
    assert not any("qat" in each for each in recipes(minding("int4"), "coreml"))


def test_dense_layers_are_factorised_with_the_ranks_that_they_bear() -> None:
    assert "low_rank+int8_static" in recipes(minding("int8"), "litert")
    assert "low_rank(rank=sensitivity)+int8_static" in recipes(minding("low_rank"), "litert")
    convolving = analysis(ModelFormat.TORCH_MODULE, IMAGE, operator="Conv")
    assert not any("low_rank" in each for each in recipes(convolving, "litert"))
    # A table costs no arithmetic; its size is what speaks for factorising it.
    table = LayerCost("tokens", "Embedding", 0, 90_000, 360_000, 100)
    layers = (table, LayerCost("conv", "Conv", 1000, 10_000, 40_000, 100))
    told = dataclasses.replace(convolving, layers=layers)
    assert "low_rank+int8_static" in recipes(told, "litert")


def test_where_pruning_alone_hurts_factorising_comes_first() -> None:
    found = recipes(minding("prune"), "litert")
    assert found.index("low_rank+int8_static") < found.index("prune(ratio=0.3)+int8_static")
    calm = recipes(minding("int8"), "litert")
    assert calm.index("prune(ratio=0.5)+int8_static") < calm.index("low_rank+int8_static")
