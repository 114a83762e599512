"""Files of fixed arrays reach a device unpacked, and hostile ones do not reach it at all."""

import io
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from distillfarm.agent.runners.fixed_arrays import stored
from distillfarm.domain.errors import InvalidRequest, NoCapacity

ARRAYS: dict[str, np.ndarray] = {
    "image": np.arange(60_000, dtype=np.float32).reshape(3, 100, 200),
    "two/parts": np.zeros(100_000, np.int8),
    "nothing": np.zeros((0, 4), np.float16),
}


@pytest.fixture
def room(tmp_path: Path) -> Iterator[IO[bytes]]:
    with tempfile.NamedTemporaryFile(dir=tmp_path) as file:
        yield file.file


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    path = tmp_path / "packed.npz"
    np.savez_compressed(path, allow_pickle=False, **ARRAYS)
    return path


def npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def zipped(path: Path, members: Mapping[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def test_compressed_arrays_are_stored_with_every_byte(packed: Path, room: IO[bytes]) -> None:
    path = stored(packed, room)
    assert path == Path(room.name)
    with zipfile.ZipFile(path) as archive:
        assert {each.compress_type for each in archive.infolist()} == {zipfile.ZIP_STORED}
    with np.load(path, allow_pickle=False) as found:
        assert set(found.files) == set(ARRAYS)
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype


def test_arrays_that_are_stored_already_are_not_copied(tmp_path: Path, room: IO[bytes]) -> None:
    path = tmp_path / "plain.npz"
    np.savez(path, allow_pickle=False, **ARRAYS)
    assert stored(path, room) == path
    assert Path(room.name).stat().st_size == 0


def test_equal_arrays_give_equal_files_so_they_are_sent_once(packed: Path, tmp_path: Path) -> None:
    contents = []
    for _ in range(2):
        with tempfile.NamedTemporaryFile(dir=tmp_path) as file:
            contents.append(stored(packed, file.file).read_bytes())
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"\x93NUMPY, but no zip around it", b"PK\x03\x04" + b"\0" * 100],
    ids=["empty", "short", "npy", "head of a zip"],
)
def test_what_is_no_npz_is_refused_with_what_writes_one(
    tmp_path: Path, room: IO[bytes], content: bytes
) -> None:
    path = tmp_path / "inputs.npz"
    path.write_bytes(content)
    with pytest.raises(InvalidRequest, match=r"inputs\.npz: .*cannot be read: .*numpy\.savez"):
        stored(path, room)


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_of_something_else_is_refused(tmp_path: Path, room: IO[bytes], packing: int) -> None:
    path = zipped(tmp_path / "word.npz", {"x": npy(np.zeros(3)), "y": b"<xml/>"}, packing)
    with pytest.raises(InvalidRequest, match=r"'y\.npy' is no \.npy"):
        stored(path, room)


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_packing_without_a_bound_is_refused(
    tmp_path: Path, room: IO[bytes], packing: int
) -> None:
    path = zipped(tmp_path / "odd.npz", {"x": npy(np.zeros(1000))}, packing)
    with pytest.raises(InvalidRequest, match="packed unlike NumPy does"):
        stored(path, room)


def test_damage_is_found_by_the_checksum(packed: Path, room: IO[bytes]) -> None:
    content = bytearray(packed.read_bytes())
    content[len(content) // 2] ^= 0xFF
    packed.write_bytes(content)
    with pytest.raises(InvalidRequest, match="cannot be read"):
        stored(packed, room)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, room: IO[bytes]) -> None:
    path = zipped(tmp_path / "bomb.npz", {"x": npy(np.zeros(30_000_000, np.int8))})
    assert path.stat().st_size < 100_000
    with pytest.raises(InvalidRequest, match=r"29 MiB unpacked, limit 1; take fewer samples"):
        stored(path, room, most_bytes=2**20)
    assert Path(room.name).stat().st_size == 0


def test_many_small_members_add_up(tmp_path: Path, room: IO[bytes]) -> None:
    content = npy(np.zeros(1_000_000, np.int8))
    path = zipped(tmp_path / "bomb.npz", {f"x{each}": content for each in range(5)})
    with pytest.raises(InvalidRequest, match="5 MiB unpacked, limit 4"):
        stored(path, room, most_bytes=4 * 2**20)


def test_a_member_that_unpacks_to_more_than_it_claims_is_cut_and_refused(
    tmp_path: Path, room: IO[bytes]
) -> None:
    path = zipped(tmp_path / "liar.npz", {"x": npy(np.zeros(30_000_000, np.int8))})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", content, content.rindex(signature) + offset, 1000)
    path.write_bytes(content)
    with pytest.raises(InvalidRequest, match="CRC"):
        stored(path, room)
    assert Path(room.name).stat().st_size < 10_000


def test_too_many_arrays_are_refused(tmp_path: Path, room: IO[bytes]) -> None:
    content = npy(np.zeros(1))
    path = zipped(tmp_path / "many.npz", {f"x{each}": content for each in range(5)})
    with pytest.raises(InvalidRequest, match="more than 4 fixed arrays"):
        stored(path, room, most_arrays=4)


def test_a_directory_of_a_million_entries_is_never_read(
    tmp_path: Path, room: IO[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "directory.npz"
    path.write_bytes((b"PK\x01\x02" + b"\0" * 42) * 1_000_000)
    monkeypatch.delattr(zipfile, "ZipFile")
    with pytest.raises(InvalidRequest, match="more than 4096 fixed arrays"):
        stored(path, room)


def test_nothing_pickled_is_opened(tmp_path: Path, room: IO[bytes]) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return warnings.warn, ("it ran",)

    path = tmp_path / "pickled.npz"
    np.savez_compressed(path, x=np.array([Trap()], dtype=object))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert stored(path, room) == Path(room.name)


def test_a_full_disk_is_this_computers_fault(packed: Path) -> None:
    with (
        Path("/dev/full").open("r+b", buffering=0) as full,
        pytest.raises(NoCapacity, match=r"unpack packed\.npz"),
    ):
        stored(packed, full)
