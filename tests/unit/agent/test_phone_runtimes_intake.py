"""What is taken out of makers' archives, and what is refused: other machines, hostile archives."""

import importlib.util
import stat
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import made_elf
import made_runtimes
import pytest
from made_elf import Made

from distillfarm.agent.phone_runtimes import PhoneRuntime, RuntimeStore, archives, elf, fitting
from distillfarm.agent.phone_runtimes.catalog import Flavour, build
from distillfarm.agent.phone_runtimes.intake import Admission, admit
from distillfarm.domain.errors import AlreadyExists, InvalidRequest

BIONIC, GLIBC = "bionic-aarch64", "glibc-aarch64"


@pytest.fixture
def store(tmp_path: Path) -> RuntimeStore:
    return RuntimeStore(tmp_path / "runtimes")


def added(
    store: RuntimeStore,
    name: str,
    flavour: str,
    *files: Path,
    version: str = "",
    replace: bool = False,
) -> PhoneRuntime:
    with store.writing() as scratch:
        admission = Admission(version, replace=replace)
        return admit(store, build(name, flavour), files, scratch, admission)


def saved(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_wheel_gives_its_library_its_licence_and_its_version(
    store: RuntimeStore, tmp_path: Path
) -> None:
    kept = added(store, "onnxruntime", GLIBC, made_runtimes.wheel(tmp_path))
    assert kept.main.read_bytes() == made_runtimes.GLIBC_LIBRARY
    assert kept.main.name == "libonnxruntime.so"
    assert kept.files == (kept.main,)
    assert kept.record.version == "1.29.0"
    assert [each.name for each in kept.record.licences] == ["LICENSE"]


def test_an_android_archive_gives_the_library_for_64_bit_arm(
    store: RuntimeStore, tmp_path: Path
) -> None:
    kept = added(store, "onnxruntime", BIONIC, made_runtimes.aar(tmp_path / "onnxruntime.aar"))
    assert kept.main.read_bytes() == made_runtimes.BIONIC_LIBRARY


def test_an_npm_package_is_looked_through_for_the_archive_inside(
    store: RuntimeStore, tmp_path: Path
) -> None:
    inner = made_runtimes.aar(tmp_path / "onnxruntime.aar").read_bytes()
    package = made_runtimes.npm_package(tmp_path / "unity-0.4.9.tgz", inner)
    kept = added(store, "onnxruntime", BIONIC, package)
    assert kept.main.read_bytes() == made_runtimes.BIONIC_LIBRARY
    assert kept.record.version == "1.29.0", "the library's, not the package's"
    assert [each.name for each in kept.record.licences] == ["LICENSE"]


def test_what_a_library_loads_itself_is_kept_beside_it(store: RuntimeStore, tmp_path: Path) -> None:
    archive = made_runtimes.zipped(
        tmp_path / "litert-2.1.0.aar",
        {
            "jni/arm64-v8a/libLiteRt.so": made_runtimes.LITERT_LIBRARY,
            "jni/arm64-v8a/libLiteRtClGlAccelerator.so": made_elf.library("x"),
            "jni/arm64-v8a/libtensorflowlite_jni.so": made_elf.library("TfLiteInterpreterCreate"),
        },
    )
    kept = added(store, "litert", BIONIC, archive)
    assert [path.name for path in kept.files] == ["libLiteRt.so", "libLiteRtClGlAccelerator.so"]
    assert kept.record.version == "2.1.0"


def test_the_archive_of_an_older_litert_gives_its_classic_library(
    store: RuntimeStore, tmp_path: Path
) -> None:
    library = made_elf.library("TfLiteInterpreterCreate")
    archive = made_runtimes.zipped(
        tmp_path / "litert-1.4.0.aar", {"jni/arm64-v8a/libtensorflowlite_jni.so": library}
    )
    kept = added(store, "litert", BIONIC, archive)
    assert kept.main.name == "libtensorflowlite_jni.so"
    assert kept.record.version == "1.4.0"


def test_files_named_after_the_first_are_kept_beside_it(
    store: RuntimeStore, tmp_path: Path
) -> None:
    tool = saved(tmp_path / "built", made_elf.program())
    library = saved(tmp_path / "libonnxruntime.so", made_runtimes.BIONIC_LIBRARY)
    kept = added(store, "onnxruntime_perf_test", BIONIC, tool, library, version="1.29.0")
    assert [path.name for path in kept.files] == ["onnxruntime_perf_test", "libonnxruntime.so"]


@pytest.mark.parametrize(
    ("place", "content", "says"),
    [
        (("onnxruntime", GLIBC), b"#!/bin/sh\n", "is no program or library"),
        (
            ("onnxruntime", BIONIC),
            made_elf.library("OrtGetApiBase", machine=made_elf.X86_64),
            "is for x86-64, not for AArch64",
        ),
        (
            ("onnxruntime", BIONIC),
            made_elf.library("OrtGetApiBase", machine=made_elf.ARM),
            "is for 32-bit Arm",
        ),
        (
            ("onnxruntime", "glibc-x86_64"),
            made_runtimes.GLIBC_LIBRARY,
            "is for AArch64, not for x86-64",
        ),
        (("onnxruntime", BIONIC), made_runtimes.GLIBC_LIBRARY, "needs glibc"),
        (("onnxruntime", GLIBC), made_runtimes.BIONIC_LIBRARY, "needs Android's C library"),
        (("onnxruntime", BIONIC), made_runtimes.LITERT_LIBRARY, "exports no OrtGetApiBase"),
        (
            ("onnxruntime", BIONIC),
            made_elf.content(Made(imports=("OrtGetApiBase",))),
            "exports no OrtGetApiBase",
        ),
        (("onnxruntime", BIONIC), made_elf.program(), "is a program, not a shared library"),
        (("benchmark_model", BIONIC), made_runtimes.BIONIC_LIBRARY, "is no program"),
        (("benchmark_model", BIONIC), made_elf.program(made_elf.GLIBC_LOADER), "needs glibc"),
        (
            ("benchmark_model", GLIBC),
            made_elf.program("/lib/ld-musl-aarch64.so.1"),
            "needs the C library of /lib/ld-musl",
        ),
        (("benchmark_model", BIONIC), made_elf.program(fixed=True), "link it with -pie"),
    ],
)
def test_what_could_not_run_there_is_refused(
    store: RuntimeStore, tmp_path: Path, place: tuple[str, str], content: bytes, says: str
) -> None:
    with pytest.raises(InvalidRequest, match=says):
        added(store, *place, saved(tmp_path / "file", content), version="1.29.0")
    assert store.entries() == ()


def test_a_foreign_library_beside_a_program_is_refused(store: RuntimeStore, tmp_path: Path) -> None:
    tool = saved(tmp_path / "executor_runner", made_elf.program())
    library = saved(tmp_path / "libhelper.so", made_elf.library(glibc=True))
    with pytest.raises(InvalidRequest, match=r"libhelper\.so needs glibc"):
        added(store, "executor_runner", BIONIC, tool, library, version="1.0")


def test_a_static_program_fits_every_c_library(store: RuntimeStore, tmp_path: Path) -> None:
    static = made_elf.content(Made(needed=(), entry=0x1000, fixed=True))
    runner = saved(tmp_path / "distillfarm-runner", static)
    for flavour in (BIONIC, GLIBC):
        assert added(store, "distillfarm-runner", flavour, runner, version="0.1.0")


def test_a_file_that_does_not_tell_its_version_needs_one(
    store: RuntimeStore, tmp_path: Path
) -> None:
    runner = saved(tmp_path / "distillfarm-runner", made_elf.program())
    with pytest.raises(InvalidRequest, match="name it by --version"):
        added(store, "distillfarm-runner", BIONIC, runner)
    with pytest.raises(InvalidRequest, match="'newest' is no version"):
        added(store, "distillfarm-runner", BIONIC, runner, version="newest")


def test_a_library_is_not_kept_under_another_version(store: RuntimeStore, tmp_path: Path) -> None:
    library = saved(tmp_path / "libonnxruntime.so", made_runtimes.BIONIC_LIBRARY)
    with pytest.raises(InvalidRequest, match=r"says that it is 1\.29\.0, not 1\.30\.0"):
        added(store, "onnxruntime", BIONIC, library, version="1.30.0")
    kept = added(store, "onnxruntime", BIONIC, library, version="1.29.0+mine")
    assert kept.record.version == "1.29.0+mine"


def test_the_same_again_changes_nothing_and_other_content_is_refused(
    store: RuntimeStore, tmp_path: Path
) -> None:
    runner = saved(tmp_path / "runner", made_elf.program())
    first = added(store, "distillfarm-runner", BIONIC, runner, version="0.1.0")
    assert added(store, "distillfarm-runner", BIONIC, runner, version="0.1.0") == first
    runner.write_bytes(made_elf.program() + b"changed")
    with pytest.raises(AlreadyExists, match="--replace"):
        added(store, "distillfarm-runner", BIONIC, runner, version="0.1.0")
    added(store, "distillfarm-runner", BIONIC, runner, version="0.1.0", replace=True)
    found = store.find("distillfarm-runner", Flavour.BIONIC_AARCH64)
    assert found is not None
    assert found.main.read_bytes().endswith(b"changed")


def test_an_archive_cannot_write_outside_the_store(store: RuntimeStore, tmp_path: Path) -> None:
    archive = made_runtimes.zipped(
        tmp_path / "out.zip",
        {
            "../../../lib/libonnxruntime.so.1.29.0": made_runtimes.GLIBC_LIBRARY,
            "../LICENSE": b"not where it wants",
        },
    )
    kept = added(store, "onnxruntime", GLIBC, archive)
    assert kept.main.parent == store.folder / "onnxruntime" / GLIBC / "1.29.0"
    assert {path.name for path in tmp_path.rglob("*LICENSE*")} == {"LICENSE"}
    assert not (store.folder.parent / "LICENSE").exists()


def test_a_link_in_an_archive_is_refused(store: RuntimeStore, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        info = zipfile.ZipInfo("jni/arm64-v8a/libonnxruntime.so")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with tarfile.open(tmp_path / "link.tgz", "w:gz") as tar:
        member = tarfile.TarInfo("jni/arm64-v8a/libonnxruntime.so")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    for name in ("link.zip", "link.tgz"):
        with pytest.raises(InvalidRequest, match="is a link"):
            added(store, "onnxruntime", BIONIC, tmp_path / name)


def test_a_bomb_is_refused_before_it_is_unpacked(
    store: RuntimeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 1000)
    zeros = bytes(2000)
    bomb = made_runtimes.zipped(tmp_path / "a.zip", {"jni/arm64-v8a/libonnxruntime.so": zeros})
    with pytest.raises(InvalidRequest, match="larger than"):
        added(store, "onnxruntime", BIONIC, bomb)
    monkeypatch.setattr(archives, "MAX_TOTAL_BYTES", 3000)
    many = made_runtimes.npm_package(tmp_path / "b.tgz", bytes(4000))
    with pytest.raises(InvalidRequest, match="it is no runtime"):
        added(store, "onnxruntime", BIONIC, many)


def test_a_member_that_is_there_twice_is_refused(store: RuntimeStore, tmp_path: Path) -> None:
    path = tmp_path / "twice.zip"
    name = "jni/arm64-v8a/libonnxruntime.so"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, made_runtimes.BIONIC_LIBRARY)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr(name, made_elf.program())
    with pytest.raises(InvalidRequest, match="twice"):
        added(store, "onnxruntime", BIONIC, path)


def test_a_damaged_archive_is_refused_in_one_sentence(store: RuntimeStore, tmp_path: Path) -> None:
    whole = made_runtimes.wheel(tmp_path).read_bytes()
    inner = made_runtimes.aar(tmp_path / "a.aar").read_bytes()
    packed = made_runtimes.npm_package(tmp_path / "p.tgz", inner).read_bytes()
    broken = bytearray(whole)
    broken[whole.index(b"libonnxruntime.so") + 60] ^= 0xFF
    for content in (whole[: len(whole) // 2], packed[: len(packed) // 2], bytes(broken)):
        with pytest.raises(InvalidRequest, match="damaged"):
            added(store, "onnxruntime", GLIBC, saved(tmp_path / "broken", content))


def test_an_archive_without_the_library_says_what_was_looked_for(
    store: RuntimeStore, tmp_path: Path
) -> None:
    other = made_runtimes.zipped(tmp_path / "other.aar", {"classes.jar": b""})
    with pytest.raises(InvalidRequest, match=r"holds no onnxruntime: .*jni/arm64-v8a"):
        added(store, "onnxruntime", BIONIC, other)


def test_broken_headers_are_refused_whatever_they_claim(tmp_path: Path) -> None:
    whole = bytearray(made_elf.library("OrtGetApiBase", version="VERS_1.29.0"))
    path = tmp_path / "broken"
    for place in range(4, len(whole)):
        changed = whole.copy()
        changed[place] = 0xFF
        path.write_bytes(changed)
        try:
            elf.read(path)
        except InvalidRequest as error:
            assert "broken" in str(error)  # noqa: PT017 - many bytes do no harm
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InvalidRequest, match="broken"):
            elf.read(path)


def test_the_runtimes_of_this_computer_are_recognised() -> None:
    """The real wheels that the agent is installed with, not made ones."""
    for package, pattern, own in (
        ("onnxruntime", "capi/libonnxruntime.so.*", version("onnxruntime")),
        ("ai_edge_litert", "libLiteRt.so", ""),
    ):
        found = importlib.util.find_spec(package)
        assert found is not None
        assert found.submodule_search_locations is not None
        (library,) = Path(found.submodule_search_locations[0]).glob(pattern)
        headers = elf.read(library)
        item = build("litert" if "litert" in package else package, "glibc-x86_64").item
        assert fitting.misfit(headers, Flavour.GLIBC_X86_64) == ""
        assert fitting.mistaken(headers, item) == ""
        assert fitting.own_version(headers) == own
