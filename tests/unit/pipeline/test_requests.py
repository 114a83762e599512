"""The id of a request, which is the key of the cache."""

from dataclasses import replace
from typing import cast
from unittest.mock import create_autospec

import farm_samples
import msgspec
import pytest

from distillfarm.compression.protocols import PassRefused
from distillfarm.compression.workflows import (
    Analyse,
    Answer,
    AnyWorkshop,
    ApplyPass,
    Convert,
    Export,
    Ingest,
    Request,
    code_version,
    perform,
    request_id,
)
from distillfarm.domain.errors import NoCapacity
from distillfarm.domain.model import ArtifactRef, Dataset, ModelFormat, Signature, SourceModel
from distillfarm.domain.recipe import parse_recipe, pass_spec
from distillfarm.domain.variant import PassOutcome, PassReport, Recipe, Refusal, Variant

DIGEST, OTHER = farm_samples.DIGEST, "sha256:" + "1" * 64
ARTIFACT = ArtifactRef(DIGEST, 10, ModelFormat.ONNX, "model.onnx")
MODEL = Variant(Recipe(), ARTIFACT, Signature((), ()), 5)


def ingest(artifact: ArtifactRef, data: str = DIGEST) -> Ingest:
    return Ingest(SourceModel(artifact), Dataset(data))


PASS = ApplyPass(MODEL, pass_spec("prune", ratio=0.5), Dataset(DIGEST), MODEL, 0)


def test_names_and_reports_do_not_matter() -> None:
    renamed = replace(ARTIFACT, name="other.onnx")
    assert request_id(ingest(ARTIFACT)) == request_id(ingest(renamed))
    # A file that says itself what goes in is read the same with any data.
    assert request_id(ingest(ARTIFACT)) == request_id(ingest(ARTIFACT, OTHER))
    slower = replace(MODEL, reports=(PassReport(PASS.spec, PassOutcome.APPLIED, seconds=9.0),))
    assert request_id(replace(PASS, variant=slower)) == request_id(PASS)


@pytest.mark.parametrize(
    "other",
    [
        replace(PASS, seed=1),
        replace(PASS, spec=pass_spec("prune", ratio=0.6)),
        replace(PASS, dataset=Dataset(OTHER)),
        replace(PASS, dataset=Dataset(DIGEST, seed=1)),
        replace(PASS, dataset=Dataset(DIGEST, OTHER, "f")),
        replace(PASS, teacher=replace(MODEL, artifact=replace(ARTIFACT, digest=OTHER))),
        replace(PASS, variant=replace(MODEL, artifact=replace(ARTIFACT, digest=OTHER))),
        replace(PASS, variant=replace(MODEL, recipe=parse_recipe("fp16"))),
        Analyse(MODEL),
        ingest(ARTIFACT),
        Ingest(SourceModel(ARTIFACT, OTHER, "make"), Dataset(DIGEST)),
        Export(MODEL, farm_samples.ONNX, Dataset(DIGEST), MODEL, 0),
        Convert(MODEL, farm_samples.ONNX, Dataset(DIGEST), MODEL, 0),
        Export(MODEL, farm_samples.LITERT, Dataset(DIGEST), MODEL, 0),
    ],
)
def test_everything_that_decides_the_answer_matters(other: Request) -> None:
    assert request_id(other) != request_id(PASS)
    assert request_id(other) == request_id(other)


def test_the_code_version_is_the_same_in_every_process_of_this_code() -> None:
    assert code_version() == code_version()
    assert len(code_version()) == 16


def refusing(error: Exception) -> AnyWorkshop:
    """A workshop that cannot apply any pass."""
    workshop = create_autospec(AnyWorkshop, instance=True)
    workshop.apply.side_effect = error
    return cast("AnyWorkshop", workshop)


def nothing(*_: object) -> None:
    """A report that goes nowhere."""


def test_a_refusal_is_an_answer_that_names_its_pass() -> None:
    answer = perform(PASS, refusing(PassRefused("no convolution")), nothing, lambda: False)
    assert answer.refusal == Refusal("prune(ratio=0.5)", "no convolution")
    assert msgspec.json.decode(msgspec.json.encode(answer), type=Answer) == answer


def test_the_harness_s_fault_is_no_answer() -> None:
    with pytest.raises(NoCapacity):
        perform(PASS, refusing(NoCapacity("disk full")), nothing, lambda: False)


def test_an_answer_names_the_blobs_that_it_needs() -> None:
    assert Answer(variant=MODEL).digests() == (DIGEST,)
    assert Answer().digests() == ()
