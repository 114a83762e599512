"""A recipe's steps are planned without loading a framework, or refused with the remedy."""

import pytest

from distillfarm.compression import registry
from distillfarm.compression.compress import StepKind, steps, trainings
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.recipe import parse_recipe


def plan(recipe: str, source: ModelFormat, target: str) -> list[str]:
    found = steps(parse_recipe(recipe), source, parse_target(target))
    return [each.spec.name if each.spec else each.kind.value for each in found]


@pytest.mark.parametrize(
    ("recipe", "source", "target", "expected"),
    [
        ("original", ModelFormat.ONNX, "onnxruntime", ["export"]),
        ("original", ModelFormat.TORCH_MODULE, "litert", ["convert", "export"]),
        ("int8_static", ModelFormat.TFLITE, "litert", ["int8_static", "export"]),
        ("fp16", ModelFormat.SAVED_MODEL, "litert", ["convert", "fp16", "export"]),
        ("int8_dynamic", ModelFormat.KERAS, "onnxruntime", ["convert", "int8_dynamic", "export"]),
        (
            "distill(width=0.5)+prune(ratio=0.5)+int8_static",
            ModelFormat.ONNX,
            "litert",
            ["distill", "prune", "convert", "int8_static", "export"],
        ),
        (
            "int8_dynamic+deployment(ios=18)",
            ModelFormat.TORCH_MODULE,
            "coreml",
            ["convert", "int8_dynamic", "deployment", "export"],
        ),
        (
            "prune(ratio=0.5)+int8_xnnpack",
            ModelFormat.TORCH_MODULE,
            "executorch",
            ["prune", "int8_xnnpack", "export"],
        ),
        (
            "prune(ratio=0.5)",
            ModelFormat.TORCH_MODULE,
            "onnxruntime",
            ["prune", "convert", "export"],
        ),
    ],
)
def test_the_change_of_format_stands_where_it_must(
    recipe: str, source: ModelFormat, target: str, expected: list[str]
) -> None:
    assert plan(recipe, source, target) == expected


def test_the_last_step_is_always_export() -> None:
    found = steps(parse_recipe("fp16"), ModelFormat.ONNX, parse_target("onnxruntime"))
    assert found[-1].kind is StepKind.EXPORT


@pytest.mark.parametrize(
    ("recipe", "source", "target", "word"),
    [
        ("prune(ratio=0.5)", ModelFormat.ONNX, "onnxruntime", "distill"),
        ("prune(ratio=0.5)", ModelFormat.TORCH_EXPORT, "litert", "distill"),
        ("int8_static+prune(ratio=0.5)", ModelFormat.TORCH_MODULE, "litert", "prune"),
        ("original", ModelFormat.ONNX, "litert", "begin the recipe with distill"),
        ("fp16", ModelFormat.TFLITE, "onnxruntime", "begin the recipe with distill"),
        ("original", ModelFormat.SAVED_MODEL, "onnxruntime", "begin the recipe with distill"),
        ("original", ModelFormat.ONNX, "coreml", "begin the recipe with distill"),
        ("int8_static", ModelFormat.TORCH_MODULE, "executorch", "int8_static"),
        ("int8_xnnpack", ModelFormat.TORCH_MODULE, "litert", "begin the recipe with distill"),
        ("vacuum", ModelFormat.ONNX, "onnxruntime", "no pass .vacuum.; use one of .*distill, fp16"),
        ("distill(breadth=2)", ModelFormat.ONNX, "onnxruntime", "unknown setting 'breadth'"),
        ("distill(width=half)", ModelFormat.ONNX, "onnxruntime", "is no number"),
        ("distill(epochs=1.5)", ModelFormat.ONNX, "onnxruntime", "is no whole number"),
        ("prune(ratio=1.5)", ModelFormat.TORCH_MODULE, "onnxruntime", "is not from 0.01 to 0.95"),
        ("distill(width=nan)", ModelFormat.ONNX, "onnxruntime", "is not from"),
        ("fp16(bits=8)", ModelFormat.ONNX, "onnxruntime", "unknown setting 'bits'"),
    ],
)
def test_what_cannot_work_is_refused_with_the_remedy(
    recipe: str, source: ModelFormat, target: str, word: str
) -> None:
    with pytest.raises(InvalidRequest, match=word):
        plan(recipe, source, target)


def test_every_registered_plug_in_loads_by_its_name() -> None:
    for name in registry.known(registry.PASSES):
        assert registry.compression_pass(name).name == name
    for name in registry.known(registry.EXPORTERS):
        target = parse_target(name)
        exporter = registry.exporter(target.runtime)
        assert exporter.format in exporter.sources


@pytest.mark.parametrize(
    ("recipe", "count"),
    [
        ("original", 0),
        ("int8_static", 0),
        ("distill(width=0.5)+prune(ratio=0.5)+int8_static", 2),
        ("prune(ratio=0.2)*3", 3),
        ("levitate+qat", 1),
    ],
)
def test_what_trains_is_known_by_its_passes(recipe: str, count: int) -> None:
    assert trainings(parse_recipe(recipe)) == count
