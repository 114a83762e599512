"""Answers are judged with intervals that mean what they say."""

from pathlib import Path

import numpy as np
import pytest

from distillfarm.compression import evaluation
from distillfarm.domain.errors import InvalidRequest


def scores(answers: list[int], classes: int = 3) -> dict[str, np.ndarray]:
    return {"scores": np.eye(classes, dtype=np.float32)[answers]}


def test_wilson_agrees_with_published_values() -> None:
    # Newcombe, Statistics in Medicine 17 (1998) 857, table I, method 3.
    assert evaluation.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert evaluation.wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert evaluation.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_accuracy_counts_right_answers() -> None:
    quality = evaluation.Accuracy().quality(scores([0, 1, 2, 0]), np.array([0, 1, 1, 0]))
    assert (quality.value, quality.samples) == (0.75, 4)
    assert quality.low < 0.75 < quality.high


def test_drop_is_the_paired_difference_in_points() -> None:
    labels = np.array([0, 1, 2, 0] * 25)
    before, after = scores([0, 1, 2, 1] * 25), scores([0, 1, 0, 0] * 25)
    drop = evaluation.Accuracy().drop(before, after, labels)
    assert drop.value == 0.0
    assert drop.low < 0 < drop.high
    worse = evaluation.Accuracy().drop(scores([0, 1, 2, 0] * 25), after, labels)
    assert worse.value == 25.0


def test_an_answer_that_is_not_a_number_is_wrong() -> None:
    outputs = scores([0, 0])
    outputs["scores"][0, 1] = np.nan
    assert evaluation.Accuracy().quality(outputs, np.array([0, 0])).value == 0.5


def test_paired_intervals_cover_the_true_drop() -> None:
    generator = np.random.default_rng(0)
    lost_rate, won_rate, samples = 0.06, 0.03, 200
    covered = 0
    for _ in range(2000):
        draws = generator.random(samples)
        lost = int((draws < lost_rate).sum())
        won = int(((draws >= lost_rate) & (draws < lost_rate + won_rate)).sum())
        interval = evaluation.paired_drop(lost, won, samples)
        covered += interval.low <= 100 * (lost_rate - won_rate) <= interval.high
    assert 0.94 <= covered / 2000 <= 0.985


@pytest.mark.parametrize(
    ("outputs", "labels", "word"),
    [
        (scores([0, 1]), np.array([0, 3]), "the model has 3 classes"),
        (scores([0, 1]), np.array([0, -1]), "the model has 3 classes"),
        (scores([0, 1]), np.array([0.5, 1.5]), "give an evaluator"),
        ({**scores([0, 1]), "b": np.zeros((2, 3))}, np.array([0, 1]), "needs one output"),
        ({"map": np.zeros((2, 3, 4, 4))}, np.array([0, 1]), "needs scores"),
        ({"one": np.zeros((2, 1))}, np.array([0, 1]), "needs scores"),
    ],
)
def test_what_accuracy_cannot_judge_is_refused(
    outputs: dict[str, np.ndarray], labels: np.ndarray, word: str
) -> None:
    with pytest.raises(InvalidRequest, match=word):
        evaluation.Accuracy().quality(outputs, labels)


def user(folder: Path, body: str) -> evaluation.UserMetric:
    path = folder / "judge.py"
    path.write_text(body)
    return evaluation.user_metric(path, "judge")


def test_the_users_evaluator_replaces_accuracy(tmp_path: Path) -> None:
    metric = user(
        tmp_path,
        "import numpy as np\n"
        "def judge(outputs, targets):\n"
        "    return 1 - float(np.abs(outputs - targets).mean())\n",
    )
    targets = np.linspace(0, 1, 50, dtype=np.float32)[:, None]
    good, bad = {"y": targets + 0.1}, {"y": targets + np.linspace(0.1, 0.5, 50)[:, None]}
    quality = metric.quality(good, targets)
    assert quality.metric == "judge"
    assert quality.value == pytest.approx(0.9)
    drop = metric.drop(good, bad, targets)
    assert drop.value == pytest.approx(20.0, abs=0.1)
    assert 10 < drop.low < drop.value < drop.high < 30


def test_an_evaluator_of_several_outputs_gets_them_by_name(tmp_path: Path) -> None:
    body = "def judge(outputs, targets):\n    return float(outputs['b'].sum())\n"
    outputs = {"a": np.zeros((4, 1)), "b": np.ones((4, 1))}
    assert user(tmp_path, body).quality(outputs, np.zeros(4)).value == 4.0


@pytest.mark.parametrize(
    "body",
    [
        "def judge(outputs, targets):\n    return 1 / 0\n",
        "def judge(outputs, targets):\n    return float('nan')\n",
        "def judge(outputs, targets):\n    return 'good'\n",
        "def other(outputs, targets):\n    return 1.0\n",
        "import no_such_module\n",
        "def judge(:\n",
    ],
)
def test_a_broken_evaluator_is_the_users_mistake(tmp_path: Path, body: str) -> None:
    with pytest.raises(InvalidRequest, match="evaluator"):
        user(tmp_path, body).quality({"y": np.zeros((4, 1))}, np.zeros(4))
