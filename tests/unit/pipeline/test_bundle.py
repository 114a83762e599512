"""The folder that a study delivers, and what checking it finds out."""

import json
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import farm_samples
import pytest
from made_trials import exported_of, looked_into, make_trial, score_of

from distillfarm.controller.bundle import build_bundle, unpack, verify, write_bundle
from distillfarm.controller.decide import Entrant, Found, Verified, choose
from distillfarm.controller.evidence import Evidence as Shown
from distillfarm.controller.reports.evidence import Evidence, Measured, gather
from distillfarm.controller.reports.html import render
from distillfarm.controller.signing import signing_key
from distillfarm.controller.store.sql import SqlStore
from distillfarm.controller.verdict import judge
from distillfarm.domain.errors import AlreadyExists, InvalidRequest
from distillfarm.domain.hardware import Device, DeviceStatus
from distillfarm.domain.job import Lease
from distillfarm.domain.measurement import Energy, Series, SeriesPoint
from distillfarm.domain.sla import parse_sla
from distillfarm.domain.study import PhoneVerdict, Spent, Study, StudyState
from distillfarm.domain.variant import Refusal
from distillfarm.statistics.summary import summarise
from distillfarm.wire.blobs import LocalBlobs

SLA = parse_sla("warm_p90<=10ms, energy<=1mJ")
HOSTILE = '"><script>alert(1)</script>\x1b[31m../../etc'


@pytest.fixture(name="blobs")
def _blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


@pytest.fixture(name="evidence")
def _evidence(blobs: LocalBlobs) -> Evidence:
    """A study with a winner, the reference and a refused candidate, under a hostile name."""
    digest = blobs.put_bytes(b"the artifact")
    trial = make_trial("int8_static")
    exported = exported_of(trial)
    artifact = replace(exported.artifact, digest=digest, name=HOSTILE)
    told = replace(looked_into(exported), artifact=artifact, unverified="never run here")
    trial = replace(trial, exported=told, final=True)
    trial = replace(trial, measurement_ids=("measurement-1",))
    reference = replace(make_trial("original", p90_ms=3.0, reference=True), final=True)
    refused = replace(
        make_trial("fp16"),
        exported=None,
        score=None,
        outcome=None,
        refusal=Refusal(
            "fp16", f"operator {HOSTILE} cannot be done", blobs.put_bytes(b"it said so")
        ),
    )
    verdict = judge(SLA, Shown(score_of(trial)))
    phone = PhoneVerdict(HOSTILE, verdict, 9)
    spent = Spent(1, 0, 2, 0, 3, 9, 4.5, 0.5, 9)
    found = Found(
        f"chip {HOSTILE}",
        (Verified(Entrant(trial), verdict, (phone,)),),
        (Entrant(reference),),
        spent=spent,
    )
    choice = choose(found, SLA)
    trials = tuple(replace(each, chipset=choice.chipset) for each in (trial, reference, refused))
    spec = farm_samples.study_spec(HOSTILE)
    study = Study("study-1", spec, StudyState.DONE, 1.0, 2.0, choices=(choice,))
    lease = Lease("job", "device-1", "agent", 1, 0.0)
    points = tuple(SeriesPoint(float(second), 30.0 + second) for second in range(9))
    measurement = replace(
        farm_samples.measurement(lease),
        measurement_id="measurement-1",
        series=(Series("temperature", "°C", HOSTILE, points), Series("empty", "V", "none", ())),
    )
    device = Device("device-1", "agent", farm_samples.device_info(), DeviceStatus.IDLE, 0.0)
    measured = Measured(trial.trial_id, measurement, device, summarise(measurement))
    return Evidence(study, trials, (measured,))


@pytest.fixture(name="bundle")
def _bundle(tmp_path: Path, evidence: Evidence, blobs: LocalBlobs) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    write_bundle(folder, evidence, blobs, signing_key(tmp_path / "state"))
    return folder


def test_a_bundle_holds_the_artifact_and_all_of_its_evidence(bundle: Path) -> None:
    verdict = json.loads((bundle / "verdicts.json").read_text())[0]
    assert (bundle / verdict["file"]).read_bytes() == b"the artifact"
    lineage = json.loads((bundle / verdict["file"]).with_name("lineage.json").read_text())
    assert lineage["recipe"] == "int8_static"
    assert lineage["source"]["digest"] == farm_samples.DIGEST
    raw = json.loads((bundle / "measurements" / "measurement-1.json").read_text())
    assert raw["launches"][0]["samples_ns"] == [1_000_000] * 10
    assert len(json.loads((bundle / "trials.json").read_text())) == 3
    assert verdict["verdict"]["bounds"][1]["reason"] == "not measured: no meter"
    assert [each["launches"] for each in verdict["phones"]] == [9]
    (own,) = json.loads((bundle / verdict["file"]).with_name("measurements.json").read_text())
    assert own == raw


def test_the_report_tells_which_devices_judged_and_what_the_search_spent(bundle: Path) -> None:
    report = (bundle / "report.html").read_text()
    assert "On which devices it was judged" in report
    assert "made 3 launches to find the best of 1 candidate" in report
    assert "Square: the knee" in report


def test_launches_of_one_device_are_drawn_together_and_those_of_two_apart(
    evidence: Evidence,
) -> None:
    (trial, *_), (measured,) = evidence.trials, evidence.measured
    other = replace(measured.device, device_id="device-2")
    more = (measured, measured, replace(measured, device=other))
    pooled = replace(evidence, measured=more).by_device(trial)
    assert [each.device.device_id for each in pooled] == ["device-1", "device-2"]
    assert [len(each.measurement.launches) for each in pooled] == [6, 3]


def test_logs_lie_in_the_bundle_and_the_report_leads_to_them(bundle: Path) -> None:
    (log,) = (bundle / "logs").iterdir()
    assert log.read_bytes() == b"it said so"
    report = (bundle / "report.html").read_text()
    assert f'<a href="logs/{log.name}">log of fp16</a>' in report


def test_the_report_draws_what_meters_saw_and_tells_how_far_to_trust_energy(
    bundle: Path, evidence: Evidence
) -> None:
    report = (bundle / "report.html").read_text()
    assert "temperature, by" in report
    assert "empty, by" not in report
    assert "<dt>cold start</dt><dd>new process</dd>" in report
    (chosen, *others), measured = evidence.trials, evidence.measured
    metered = Energy("power rails", "", 0.5, 0.4, 0.01, 0.25, 5)
    assert chosen.score is not None
    trial = replace(chosen, score=replace(chosen.score, energy=metered))
    page = render(Evidence(evidence.study, (trial, *others), measured), "signer", {})
    assert "read every 250 ms, over 5 launches, tells 0.0100 mJ apart" in page
    assert "<dt>stopped</dt><dd>as many launches as asked for</dd>" in page


def test_the_report_shows_no_number_of_an_emulated_device(evidence: Evidence) -> None:
    (chosen, *others), (measured,) = evidence.trials, evidence.measured
    why = "EMULATED: ok; what an emulated device does says nothing of a real one"
    trial = replace(chosen, score=None, outcome_reason=why)
    ran = replace(measured, measurement=replace(measured.measurement, emulated=True), summary=None)
    choice = choose(Found(chosen.chipset, beside=(Entrant(trial, emulated=True),)), SLA)
    study = replace(evidence.study, choices=(choice,))
    page = render(Evidence(study, (trial, *others[1:]), (ran,)), "signer", {})
    assert '<span class="tag emulated">emulated</span>' in page
    assert "Not judged: only emulated devices" in page
    for picture in ("Quality against latency", "Raw samples of the final measurement", "°C"):
        assert picture not in page
    assert '<span class="tag ok">' not in page


def test_a_fresh_bundle_is_whole(bundle: Path, tmp_path: Path) -> None:
    check = verify(bundle)
    assert (check.problems, check.ok, check.trusted) == ((), True, False)
    assert check.signer == signing_key(tmp_path / "state").fingerprint
    assert verify(bundle, bundle / "signing-key.pub").trusted


def test_the_checksums_are_those_of_sha256sum(bundle: Path) -> None:
    command = ["sha256sum", "--check", "--quiet", "SHA256SUMS"]
    assert subprocess.run(command, cwd=bundle, check=False).returncode == 0


def _change(folder: Path) -> None:
    with (folder / "study.json").open("ab") as file:
        file.write(b" ")


def _remove(folder: Path) -> None:
    (folder / "report.html").unlink()


def _add(folder: Path) -> None:
    (folder / "chipsets" / "new\x1b[2J.bin").write_bytes(b"x")


def _add_hidden(folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_bytes(b"x")


def _link(folder: Path) -> None:
    (folder / "passwd").symlink_to("/etc/passwd")


def _link_folder(folder: Path) -> None:
    (folder / "more").symlink_to("/etc", target_is_directory=True)


@pytest.mark.parametrize(
    ("tamper", "problem"),
    [
        (_change, "study.json: changed"),
        (_remove, "report.html: missing"),
        (_add, "chipsets/new\\x1b[2J.bin: added"),
        (_add_hidden, ".git/config: added"),
        (_link, "passwd: neither a file nor a folder (a link?)"),
        (_link_folder, "more: neither a file nor a folder (a link?)"),
    ],
)
def test_every_kind_of_tampering_is_named(
    bundle: Path, tamper: Callable[[Path], None], problem: str
) -> None:
    tamper(bundle)
    assert verify(bundle).problems == (problem,)


def test_checksums_that_were_mended_do_not_help(bundle: Path) -> None:
    before = (bundle / "study.json").read_bytes()
    sums = (bundle / "SHA256SUMS").read_text()
    (bundle / "study.json").write_bytes(before + b" ")
    command = ["sha256sum", "study.json"]
    line = subprocess.run(command, cwd=bundle, check=True, capture_output=True, text=True).stdout
    kept = [each for each in sums.splitlines() if not each.endswith("  study.json")]
    (bundle / "SHA256SUMS").write_text("\n".join([*kept, line]))
    (problem,) = verify(bundle).problems
    assert problem == "the signature does not hold: changed since: SHA256SUMS, study.json"


def test_another_key_is_noticed_only_by_those_who_know_the_right_one(
    bundle: Path, tmp_path: Path, evidence: Evidence, blobs: LocalBlobs
) -> None:
    forged = tmp_path / "forged"
    forged.mkdir()
    write_bundle(forged, evidence, blobs, signing_key(tmp_path / "thief"))
    assert verify(forged).ok
    check = verify(forged, bundle / "signing-key.pub")
    assert "the signature does not hold" in check.problems[0]


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 100, b"[" * 100_000])
def test_a_broken_signature_is_a_problem_and_no_crash(bundle: Path, content: bytes) -> None:
    (bundle / "model.sig").write_bytes(content)
    assert "the signature does not hold" in verify(bundle).problems[0]


def test_what_is_no_bundle_is_said(tmp_path: Path, bundle: Path) -> None:
    with pytest.raises(InvalidRequest, match="is no bundle"):
        verify(tmp_path)
    (tmp_path / "key").write_text("no key")
    with pytest.raises(InvalidRequest, match="not a public key"):
        verify(bundle, tmp_path / "key")


def test_the_key_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    first, second = signing_key(tmp_path), signing_key(tmp_path)
    assert first == second
    assert first.private.stat().st_mode & 0o777 == 0o600


def test_a_stored_bundle_unpacks_to_a_whole_one(
    tmp_path: Path, evidence: Evidence, blobs: LocalBlobs
) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'farm.sqlite'}")
    store.create_study("study-1", evidence.study.spec, 1.0)
    study = replace(evidence.study, choices=())
    assert gather(study, store).trials == ()
    artifact = build_bundle(study, store, blobs, signing_key(tmp_path / "state"))
    unpack(blobs.path(artifact.digest), tmp_path / "out")
    assert verify(tmp_path / "out").ok
    assert "/" not in artifact.name
    with pytest.raises(AlreadyExists, match="is not empty"):
        unpack(blobs.path(artifact.digest), tmp_path / "out")


@pytest.mark.parametrize("name", ["../out.txt", "a/../../out.txt"])
def test_an_archive_that_would_write_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "bad.tar"
    with tarfile.open(archive, "w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(InvalidRequest, match="cannot be unpacked"):
        unpack(archive, tmp_path / "deep" / "folder")
    assert not list(tmp_path.rglob("out.txt"))


def test_the_report_is_harmless_and_needs_no_network(bundle: Path) -> None:
    page = (bundle / "report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    for loader in ("src=", "<link", "@import", "url(http", "<iframe"):
        assert loader not in page


def test_the_report_says_what_was_refused_and_what_was_not_measured(bundle: Path) -> None:
    page = (bundle / "report.html").read_text()
    assert "cannot be done" in page
    assert "not measured: no meter" in page
    assert page.count("<svg") == 5
    assert "the reference" in page


def test_the_report_says_who_pays_and_what_each_pass_has_to_say(bundle: Path) -> None:
    page = (bundle / "report.html").read_text()
    assert "worst of 2 classes: 7, 12.0 [10.0, 14.0] points lost" in page
    assert "group &lt;night&gt;" in page
    assert "2 groups are not looked at" in page
    assert "left layer &lt;7&gt; alone" in page
    assert "3 KB → 800 B" in page
    assert "packed 800 B" in page
    assert "not compared on the host: never run here" in page
