"""The benchmark of techniques asks for what this version can plan, and for all of it."""

import pytest
from techniques.recipes import ORIGINAL, RECIPES, Try

from distillfarm.compression import compress, registry
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.recipe import parse_recipe

_ELSEWHERE = {"deployment", "int8_xnnpack"}  # Core ML and ExecuTorch


@pytest.mark.parametrize(
    ("workload", "asked"), [(name, each) for name, tries in RECIPES.items() for each in tries]
)
def test_every_recipe_can_be_planned(workload: str, asked: Try) -> None:
    recipe = parse_recipe(asked.recipe)
    assert str(recipe) == asked.recipe
    assert compress.steps(recipe, ModelFormat.TORCH_MODULE, parse_target(asked.runtime))
    originals = {each.runtime for each in RECIPES[workload] if each.recipe == ORIGINAL}
    assert asked.runtime in originals, "nothing to compare it with"


@pytest.mark.parametrize("workload", RECIPES)
def test_a_smoke_run_has_what_it_compares_with(workload: str) -> None:
    quick = [each for each in RECIPES[workload] if each.quick]
    originals = {each.runtime for each in quick if each.recipe == ORIGINAL}
    assert {each.runtime for each in quick} == originals


def test_every_technique_is_tried() -> None:
    tried = {
        each.name
        for tries in RECIPES.values()
        for asked in tries
        for each in parse_recipe(asked.recipe).passes
    }
    assert tried == set(registry.known(registry.PASSES)) - _ELSEWHERE
