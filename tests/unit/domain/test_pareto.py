"""The front holds exactly the points that nothing dominates."""

from hypothesis import given
from hypothesis import strategies as st

from distillfarm.domain.pareto import pareto_front

Points = dict[int, tuple[float, ...]]
_POINTS = st.dictionaries(
    st.integers(0, 50), st.tuples(*[st.integers(0, 4).map(float)] * 3), max_size=15
)


def dominates(left: tuple[float, ...], right: tuple[float, ...]) -> bool:
    return left != right and all(a <= b for a, b in zip(left, right, strict=True))


def test_cheaper_and_better_beats_the_rest() -> None:
    points = {"teacher": (0.0, 9.0), "student": (1.0, 3.0), "worse": (2.0, 3.0), "bad": (9.0, 9.0)}
    assert pareto_front(points) == {"teacher", "student"}


@given(_POINTS)
def test_no_point_of_the_front_is_dominated_by_any_point(points: Points) -> None:
    front = pareto_front(points)
    assert not any(dominates(points[a], points[b]) for a in points for b in front)


@given(_POINTS)
def test_every_point_off_the_front_is_dominated_by_one_on_it(points: Points) -> None:
    front = pareto_front(points)
    for key in points.keys() - front:
        assert any(dominates(points[other], points[key]) for other in front)


@given(_POINTS)
def test_the_front_of_the_front_is_itself(points: Points) -> None:
    front = pareto_front(points)
    assert pareto_front({key: points[key] for key in front}) == front
    assert bool(front) == bool(points)


def test_equal_points_stay_together() -> None:
    assert pareto_front({"a": (1.0, 1.0), "b": (1.0, 1.0)}) == {"a", "b"}
