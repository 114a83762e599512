"""A recipe's text and its value are two forms of one thing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.recipe import parse_recipe, pass_spec
from distillfarm.domain.variant import PassSpec, Recipe

_NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
_VALUES = st.from_regex(r"[A-Za-z0-9_.\-]{1,8}", fullmatch=True)
_PASSES = st.builds(
    lambda name, settings: pass_spec(name, **settings),
    _NAMES,
    st.dictionaries(_NAMES, _VALUES, max_size=3),
)


def test_a_recipe_is_its_passes_in_order() -> None:
    recipe = parse_recipe("distill(width=0.5) + prune(steps=3,ratio=0.5)+int8_static")
    assert [each.name for each in recipe.passes] == ["distill", "prune", "int8_static"]
    assert recipe.passes[1] == pass_spec("prune", ratio=0.5, steps=3)


@given(st.lists(_PASSES, max_size=4).filter(lambda passes: passes != [PassSpec("original")]))
def test_a_recipe_survives_being_written_and_read(passes: list[PassSpec]) -> None:
    recipe = Recipe(tuple(passes))
    assert parse_recipe(str(recipe)) == recipe


@given(st.dictionaries(_NAMES, _VALUES, min_size=2, max_size=4))
def test_the_order_of_settings_does_not_matter(settings: dict[str, str]) -> None:
    text = ",".join(f"{key}={value}" for key, value in reversed(settings.items()))
    assert parse_recipe(f"prune({text})").passes == (pass_spec("prune", **settings),)


@pytest.mark.parametrize("text", ["", "  ", "original"])
def test_the_untouched_model_has_the_empty_recipe(text: str) -> None:
    assert parse_recipe(text) == Recipe()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prune(ratio=0.5", "is no pass"),
        ("prune++int8", "'' is no pass"),
        ("Prune", "is no pass"),
        ("prune(0.5)", "'0.5' in prune is no setting; write key=value"),
        ("prune(ratio=0.5,ratio=0.6)", "ratio is set twice in prune"),
        ("prune(ratio=$(reboot))", "is no pass"),
        ("prune(path=../x)", "is no setting"),
    ],
)
def test_what_is_no_recipe_is_refused_with_the_place(text: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        parse_recipe(text)


@given(st.text())
def test_any_text_is_read_or_refused_but_never_crashes(text: str) -> None:
    try:
        recipe = parse_recipe(text)
    except InvalidRequest:
        return
    assert parse_recipe(str(recipe)) == recipe


def test_a_pass_may_be_repeated() -> None:
    recipe = parse_recipe("distill + prune(ratio=0.2)*3 + int8_static")
    assert str(recipe) == "distill+" + "prune(ratio=0.2)+" * 3 + "int8_static"
    assert parse_recipe(str(recipe)) == recipe


@pytest.mark.parametrize("times", ["0", "21", "99999999"])
def test_a_pass_is_not_repeated_without_sense(times: str) -> None:
    with pytest.raises(InvalidRequest, match=r"write \*1 to \*20"):
        parse_recipe(f"prune*{times}")
