"""The folder that a study delivers: chosen artifacts, their evidence, checksums, a signature."""

import hashlib
import io
import re
import stat
import tarfile
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import msgspec

from distillfarm.compression.workflows import code_version
from distillfarm.controller.reports.evidence import Evidence, gather
from distillfarm.controller.reports.html import render
from distillfarm.controller.signing import (
    SIGNATURE,
    SigningKey,
    fingerprint,
    sign,
    signature_problem,
)
from distillfarm.controller.store.protocol import Store
from distillfarm.domain.errors import AlreadyExists, FarmError, InvalidRequest
from distillfarm.domain.model import ArtifactRef, ModelFormat
from distillfarm.domain.study import Choice, PhoneVerdict, SlaVerdict, Study, Trial
from distillfarm.domain.variant import PassReport
from distillfarm.wire.blobs import BlobStore

SUMS = "SHA256SUMS"
PUBLIC_KEY = "signing-key.pub"
_SUFFIXES = {
    ModelFormat.ONNX: ".onnx",
    ModelFormat.TFLITE: ".tflite",
    ModelFormat.EXECUTORCH: ".pte",
    ModelFormat.COREML: ".mlpackage.tar",
    ModelFormat.COREAI: ".aimodel.tar",
}
_MAX_NAME = 100
_LOG_NAME = 23
# Model signing says what differs in the text of its error only, with whole digests between.
_CHANGED = re.compile(r"Hash mismatch for \\?'(.+?)\\?':")


@dataclass(frozen=True)
class Lineage:
    """Where an artifact comes from: everything needed to make it again."""

    chipset: str
    source: ArtifactRef
    factory_digest: str
    data_digest: str
    split_seed: int
    seed: int
    recipe: str
    target: str
    artifact: ArtifactRef
    reports: tuple[PassReport, ...]
    measurement_ids: tuple[str, ...]
    distillfarm_version: str
    compression_code: str


@dataclass(frozen=True)
class ChipsetVerdict:
    """What was chosen for a chipset and how it was judged, over all devices and on each."""

    chipset: str
    trial_id: str
    file: str
    verdict: SlaVerdict
    why: str
    phones: tuple[PhoneVerdict, ...]


@dataclass(frozen=True)
class BundleCheck:
    """What became of checking a bundle.

    ``problems`` are empty when every file is the one that was signed. ``signer`` is the
    fingerprint of the key; ``trusted`` whether the caller named that key, since one that lies in
    the bundle shows only that nothing changed after somebody signed it.
    """

    problems: tuple[str, ...]
    signer: str
    trusted: bool

    @property
    def ok(self) -> bool:
        """Whether the bundle is whole."""
        return not self.problems


def build_bundle(study: Study, store: Store, blobs: BlobStore, key: SigningKey) -> ArtifactRef:
    """Write the bundle of a study and store it as a tar; the same content gives the same files."""
    evidence = gather(study, store)
    with tempfile.TemporaryDirectory(prefix="distillfarm-bundle-") as scratch:
        folder = Path(scratch) / "bundle"
        folder.mkdir()
        write_bundle(folder, evidence, blobs, key)
        archive = Path(scratch) / "bundle.tar"
        _pack(folder, archive)
        size = archive.stat().st_size
        digest = blobs.put_file(archive, move=True)
    name = f"{_slug(study.spec.name) or 'study'}-{study.study_id}.tar"
    return ArtifactRef(digest, size, ModelFormat.BUNDLE, name)


def write_bundle(folder: Path, evidence: Evidence, blobs: BlobStore, key: SigningKey) -> None:
    """Write everything into the empty ``folder``, then the checksums, then the signature."""
    trials = {each.trial_id: each for each in evidence.trials}
    verdicts = []
    for choice in evidence.study.choices:
        trial = trials.get(choice.trial_id)
        file = _write_chipset(folder, choice, trial, evidence, blobs) if trial else ""
        verdicts.append(
            ChipsetVerdict(
                choice.chipset, choice.trial_id, file, choice.verdict, choice.why, choice.phones
            )
        )
    _write_json(folder / "study.json", evidence.study)
    _write_json(folder / "trials.json", evidence.trials)
    _write_json(folder / "verdicts.json", verdicts)
    (folder / "measurements").mkdir()
    for each in evidence.measured:
        name = f"{_slug(each.measurement.measurement_id)}.json"
        _write_json(folder / "measurements" / name, each.measurement)
    logs = _write_logs(folder, evidence, blobs)
    (folder / "report.html").write_text(render(evidence, key.fingerprint, logs), encoding="utf-8")
    (folder / PUBLIC_KEY).write_bytes(key.public_pem)
    lines = [f"{digest}  {name}\n" for name, digest in _digests(folder).items()]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")
    sign(folder, key)


def verify(folder: Path, public_key: Path | None = None) -> BundleCheck:
    """Compare a bundle with what was signed.

    Args:
        folder: the unpacked bundle; nothing in it is trusted.
        public_key: the PEM file of the key it should be signed with; without one, the bundle's.

    Raises:
        InvalidRequest: ``folder`` is no bundle, or ``public_key`` no key.
    """
    if not (folder / SUMS).is_file() or not (folder / SIGNATURE).is_file():
        raise InvalidRequest(f"{_safe(str(folder))} is no bundle: {SUMS} or {SIGNATURE} is missing")
    strange = [
        f"{_safe(name)}: neither a file nor a folder (a link?)" for name in _strangers(folder)
    ]
    if strange:
        return BundleCheck(tuple(strange), "", trusted=False)
    key = public_key or folder / PUBLIC_KEY
    try:
        signer = fingerprint(key.read_bytes())
    except OSError as error:
        raise InvalidRequest(f"cannot read the public key {_safe(str(key))}: {error}") from error
    problems = _compare(folder)
    broken = signature_problem(folder, key)
    if broken and not problems:
        changed = ", ".join(_CHANGED.findall(broken))
        reason = f"changed since: {changed}" if changed else broken
        problems = [f"the signature does not hold: {_safe(reason)}"]
    return BundleCheck(tuple(problems), signer, trusted=public_key is not None)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a bundle's tar into the new or empty ``folder``.

    Raises:
        AlreadyExists: the folder holds something.
        InvalidRequest: the archive is broken or would write elsewhere.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise AlreadyExists(f"{_safe(str(folder))} is not empty; choose another folder")
    try:
        with tarfile.open(archive, "r:") as tar:
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, OSError) as error:
        raise InvalidRequest(f"the bundle cannot be unpacked: {_safe(str(error))}") from error


def _write_chipset(
    folder: Path, choice: Choice, trial: Trial, evidence: Evidence, blobs: BlobStore
) -> str:
    exported = trial.exported
    if exported is None:
        raise FarmError(f"{trial.trial_id} was chosen and has no artifact")
    place = folder / "chipsets" / _folder_name(choice.chipset)
    place.mkdir(parents=True)
    file = place / f"model{_SUFFIXES.get(exported.artifact.format, '.bin')}"
    file.write_bytes(blobs.path(exported.artifact.digest).read_bytes())
    spec = evidence.study.spec
    _write_json(
        place / "lineage.json",
        Lineage(
            chipset=choice.chipset,
            source=spec.model.artifact,
            factory_digest=spec.model.factory_digest,
            data_digest=spec.data.digest,
            split_seed=spec.data.seed,
            seed=spec.seed,
            recipe=str(trial.candidate.recipe),
            target=str(trial.candidate.target),
            artifact=exported.artifact,
            reports=exported.reports,
            measurement_ids=trial.measurement_ids,
            distillfarm_version=version("distillfarm"),
            compression_code=code_version(),
        ),
    )
    measured = evidence.all_of(trial)
    if measured:
        _write_json(place / "measurements.json", [each.measurement for each in measured])
    return file.relative_to(folder).as_posix()


def _write_logs(folder: Path, evidence: Evidence, blobs: BlobStore) -> dict[str, str]:
    """Every pass' log that is still there; their names by their digests."""
    named = {log.digest for trial in evidence.trials for log in trial.logs}
    written = {}
    (folder / "logs").mkdir()
    for digest in sorted(filter(blobs.has, named)):
        name = f"logs/{_slug(digest)[:_LOG_NAME]}.log"
        (folder / name).write_bytes(blobs.path(digest).read_bytes())
        written[digest] = name
    return written


def _compare(folder: Path) -> list[str]:
    expected = _read_sums(folder / SUMS)
    actual = _digests(folder)
    return [
        *(f"{_safe(name)}: missing" for name in sorted(expected.keys() - actual.keys())),
        *(f"{_safe(name)}: added" for name in sorted(actual.keys() - expected.keys())),
        *(
            f"{_safe(name)}: changed"
            for name in sorted(expected.keys() & actual.keys())
            if expected[name] != actual[name]
        ),
    ]


def _read_sums(path: Path) -> dict[str, str]:
    sums: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        sums[name] = digest
    return sums


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file by its path, except the checksums and the signature themselves."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in (SUMS, SIGNATURE):
            with path.open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _strangers(folder: Path) -> list[str]:
    kinds = {each: each.lstat().st_mode for each in sorted(folder.rglob("*"))}
    return [
        path.relative_to(folder).as_posix()
        for path, mode in kinds.items()
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
    ]


def _pack(folder: Path, archive: Path) -> None:
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
                content = path.read_bytes()
                entry.size, entry.mode = len(content), 0o644
                tar.addfile(entry, io.BytesIO(content))


def _write_json(path: Path, value: object) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")


def _folder_name(chipset: str) -> str:
    # Two chipsets may look alike once their names are made harmless.
    return f"{_slug(chipset)}-{hashlib.sha256(chipset.encode()).hexdigest()[:6]}"


def _slug(text: str) -> str:
    words = "".join(each if each.isascii() and each.isalnum() else " " for each in text).split()
    return "-".join(words)[:_MAX_NAME]


def _safe(text: str) -> str:
    """Text from a hostile file, harmless in a terminal and of bounded length."""
    shown = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
    return shown if len(shown) <= 4 * _MAX_NAME else f"{shown[: 4 * _MAX_NAME]}..."
