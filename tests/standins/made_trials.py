"""Trials as a study makes them, scored or not."""

from dataclasses import replace

import farm_samples

from distillfarm.domain.hardware import Target
from distillfarm.domain.interval import Interval
from distillfarm.domain.measurement import Energy, Outcome
from distillfarm.domain.model import ArtifactRef, ModelFormat
from distillfarm.domain.recipe import parse_recipe, pass_spec
from distillfarm.domain.study import Score, Trial
from distillfarm.domain.variant import (
    Candidate,
    CurvePoint,
    Exported,
    PassOutcome,
    PassReport,
    Quality,
    QualityDetail,
    QualitySlice,
    SliceKind,
)

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


def looked_into(exported: Exported, resolution_points: float = 2.3) -> Exported:
    """The artifact with all that is known beyond one number: 7 is the class that pays."""

    def part(kind: SliceKind, name: str, drop: float, samples: int) -> QualitySlice:
        before = Quality("accuracy", 0.9, 0.85, 0.95, samples)
        after = replace(before, value=0.9 - drop / 100)
        return QualitySlice(kind, name, before, after, around(drop, 2.0))

    detail = QualityDetail(
        Interval(0.978, 0.962, 0.988),
        resolution_points,
        (
            part(SliceKind.CLASS, "3", 0.0, 60),
            part(SliceKind.CLASS, "7", 12.0, 60),
            part(SliceKind.GROUP, "<night>", -1.0, 90),
            part(SliceKind.SHIFT, "noise", 4.0, 400),
        ),
        ("2 groups are not looked at",),
    )
    trained = PassReport(
        pass_spec("qat"),
        PassOutcome.APPLIED,
        size_before_bytes=4000,
        size_after_bytes=1000,
        packed_before_bytes=3000,
        packed_after_bytes=800,
        curve=(CurvePoint(1, 0.9, 0.5), CurvePoint(2, 0.4, 0.8)),
        notes=("left layer <7> alone",),
    )
    return replace(exported, detail=detail, reports=(trained,), packed_bytes=800)


def score_of(trial: Trial) -> Score:
    """The score of a trial that has one."""
    assert trial.score is not None
    return trial.score


def exported_of(trial: Trial) -> Exported:
    """The artifact of a trial that was built."""
    assert trial.exported is not None
    return trial.exported
