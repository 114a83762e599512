"""Every candidate that is proposed can be planned, and none that cannot be trained is proposed."""

import pytest

from distillfarm.compression import compress
from distillfarm.compression.candidates import propose
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.model import (
    Analysis,
    ModelFormat,
    OperatorCount,
    Signature,
    TensorSpec,
)

TARGETS = (parse_target("onnxruntime"), parse_target("litert"))
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
