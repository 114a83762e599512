"""A small farm to look at: one phone, one study with its trials, one measurement."""

from dataclasses import replace

import farm_samples as samples

from distillfarm.controller.store.protocol import Store
from distillfarm.domain.ids import fresh_id
from distillfarm.domain.interval import UNBOUNDED, Interval
from distillfarm.domain.measurement import Energy, Outcome
from distillfarm.domain.model import Analysis as ModelAnalysis
from distillfarm.domain.model import ArtifactRef, ModelFormat, OperatorCount, Signature
from distillfarm.domain.recipe import parse_recipe
from distillfarm.domain.study import (
    BoundVerdict,
    Choice,
    Score,
    SlaVerdict,
    StudyState,
    Trial,
    Verdict,
)
from distillfarm.domain.variant import Candidate, Refusal
from distillfarm.wire.blobs import BlobStore

STUDY = "study-1"
HOSTILE = "<script>alert('x')</script>"
CHIPSET = "Google Tensor G2"


def around(value: float) -> Interval:
    return Interval(value, value * 0.95, value * 1.05)


def score(quality: float, drop: float, size: int, warm_ms: float) -> Score:
    return Score(
        quality=around(quality),
        quality_drop=Interval(drop, drop - 0.2, drop + 0.2),
        size_bytes=size,
        cold_ms=around(31.2),
        warm_p50_ms=around(warm_ms),
        warm_p90_ms=around(warm_ms * 1.1),
        warm_p99_ms=Interval(warm_ms * 1.4, 0.0, UNBOUNDED),
        peak_memory_bytes=around(48e6),
        energy=Energy(reason="no meter here"),
    )


def trial(number: int, recipe: str, **fields: object) -> Trial:
    candidate = Candidate(parse_recipe(recipe), samples.ONNX)
    return replace(Trial(f"trial-{number}", STUDY, CHIPSET, candidate), **fields)  # type: ignore[arg-type]


LOG = f"0.00 s  {HOSTILE}".encode()


def populate(store: Store, blobs: BlobStore) -> None:
    """Fill an empty store with a finished study."""
    (device,) = store.report_devices("agent-1", [samples.device_info(model=HOSTILE)], 100.0)
    job = store.submit(samples.request(fresh_id("key")), 101.0)
    (lease,) = store.grant([(job.job_id, device.device_id)], 102.0, 30.0)
    done = store.finish(samples.result(lease), 103.0, 3)
    study = store.create_study(STUDY, samples.study_spec(f"digits {HOSTILE}"), 104.0)
    ok = {"outcome": Outcome.OK}
    for each in (
        trial(1, "original", score=score(0.89, 0.0, 547_000, 0.112), reference=True, **ok),
        trial(
            2,
            "prune(ratio=0.5)",
            score=score(0.877, 1.3, 97_000, 0.021),
            measurement_ids=(done.measurement_id,),
            **ok,
        ),
        trial(3, "prune(ratio=0.9)", score=score(0.86, 3.0, 98_000, 0.025), **ok),
        trial(
            4,
            "int8_static",
            refusal=Refusal("int8_static", f"cannot read {HOSTILE}", blobs.put_bytes(LOG)),
        ),
        trial(5, "fp16", outcome=Outcome.INCORRECT, outcome_reason="off by 0.3"),
    ):
        store.put_trial(each)
    for number, text in enumerate(("reading the model", f"trained {HOSTILE}"), 1):
        store.add_event(STUDY, "compress", text, 105.0 + number, done=number, total=2, left_s=61.0)
    (bound,) = study.spec.sla.bounds
    judged = BoundVerdict(bound, Verdict.PASS, around(0.023), "0.023 is far below 10")
    digest = blobs.put_bytes(b"the bundle")
    store.put_study(
        replace(
            study,
            state=StudyState.DONE,
            finished_at_s=200.0,
            analysis=ModelAnalysis(
                ModelFormat.ONNX,
                Signature((), ()),
                547_000,
                136_498,
                1_234_567,
                (OperatorCount("Conv", 3, 1_000_000),),
                ("float32",),
                (f"layer {HOSTILE} takes 80 %",),
            ),
            choices=(
                Choice(CHIPSET, "trial-2", SlaVerdict(Verdict.PASS, (judged,)), "the fastest"),
            ),
            bundle=ArtifactRef(digest, 10, ModelFormat.BUNDLE, "digits.tar"),
        )
    )
