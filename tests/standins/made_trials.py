"""Trials as a study makes them, scored or not."""

import farm_samples

from distillfarm.domain.hardware import Target
from distillfarm.domain.interval import Interval
from distillfarm.domain.measurement import Energy, Outcome
from distillfarm.domain.model import ArtifactRef, ModelFormat
from distillfarm.domain.recipe import parse_recipe
from distillfarm.domain.study import Score, Trial
from distillfarm.domain.variant import Candidate, Exported, Quality

NO_METER = Energy(reason="no meter")


def around(value: float, margin: float = 0.0) -> Interval:
    """An interval of ``margin`` to both sides."""
    return Interval(value, value - margin, value + margin)


def make_trial(
    recipe: str = "int8_static",
    *,
    p90_ms: float = 1.0,
    margin_ms: float = 0.01,
    size: int = 1000,
    drop: float = 1.0,
    search_drop: float | None = None,
    target: Target = farm_samples.ONNX,
    reference: bool = False,
    energy: Energy = NO_METER,
) -> Trial:
    """A trial that was measured well, unless told otherwise."""
    candidate = Candidate(parse_recipe(recipe), target)
    selection = drop if search_drop is None else search_drop
    quality = Quality("accuracy", 0.9 - drop / 100, 0.88, 0.92, 1000)
    exported = Exported(
        candidate,
        ArtifactRef(farm_samples.DIGEST, size, ModelFormat.ONNX, "model.onnx"),
        100,
        quality,
        around(selection, 0.2),
        quality,
        around(drop, 0.2),
        farm_samples.DIGEST,
        farm_samples.DIGEST,
    )
    score = Score(
        Interval(quality.value, quality.low, quality.high),
        around(drop, 0.2),
        size,
        around(30.0, 1.0),
        around(p90_ms * 0.9, margin_ms),
        around(p90_ms, margin_ms),
        around(p90_ms * 1.1, margin_ms),
        around(50e6, 1e6),
        energy,
    )
    return Trial(
        f"trial-{recipe}-{target}",
        "study-1",
        "Google Tensor G2",
        candidate,
        exported=exported,
        outcome=Outcome.OK,
        score=score,
        reference=reference,
    )


def score_of(trial: Trial) -> Score:
    """The score of a trial that has one."""
    assert trial.score is not None
    return trial.score


def exported_of(trial: Trial) -> Exported:
    """The artifact of a trial that was built."""
    assert trial.exported is not None
    return trial.exported
