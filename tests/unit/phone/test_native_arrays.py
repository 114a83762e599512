"""The native runner reads stored .npz files, and nothing that is damaged, hostile or unfitting."""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from launches import GOLDEN, arrays
from native_runner import ONNXRUNTIME, Said, order, run, run_twin

from distillfarm.agent.runners import reports

FLOATS = np.arange(4, dtype=np.float32).reshape(1, 4)


def npy(array: np.ndarray, header: str | None = None, version: int = 1) -> bytes:
    """An .npy, with a header of one's own if given."""
    if header is None:
        made = io.BytesIO()
        np.save(made, array)
        return made.getvalue()
    text = header.encode()
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + array.tobytes()


def npz(*contents: tuple[str, bytes], how: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of these files."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", how) as archive:
        for name, content in contents:
            archive.writestr(name, content)
    return made.getvalue()


def header(shape: str = "(1, 4)", descr: str = "'<f4'", order: str = "False") -> str:
    """A header as NumPy writes it, or nearly."""
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


def with_header(text: str, version: int = 1) -> bytes:
    """A zip of one array with this header."""
    return npz(("x.npy", npy(FLOATS, text, version)))


@pytest.fixture
def infer(runner: Path, tflite: Path, tmp_path: Path) -> Callable[..., Said]:
    """Measures the stand-in's model, which takes x: float32 [1, 4], with given files."""
    model = tmp_path / "model"
    model.write_text("fine")

    def measured(inputs: bytes | Path, expected: bytes | Path = Path()) -> Said:
        paths = {}
        for name, content in (("inputs", inputs), ("expected", expected)):
            path = content if isinstance(content, Path) else tmp_path / f"{name}.npz"
            if isinstance(content, bytes):
                path.write_bytes(content)
            paths[name] = "" if path == Path() else str(path)
        return run(runner, tflite, order("litert", "none", model, **paths))

    return measured


def no_zip_at_all() -> bytes:
    return b"PK\x03\x04 cut"


def cut_off() -> bytes:
    return npz(("x.npy", npy(FLOATS)))[:-60]


def cut_in_the_data() -> bytes:
    whole = npz(("x.npy", npy(FLOATS)))
    return whole[:100] + whole[132:]


def damaged() -> bytes:
    whole = bytearray(npz(("x.npy", npy(FLOATS))))
    whole[150] ^= 0xFF
    return bytes(whole)


def compressed() -> bytes:
    return npz(("x.npy", npy(FLOATS)), how=zipfile.ZIP_DEFLATED)


def bomb() -> bytes:
    return npz(("x.npy", bytes(50_000_000)), how=zipfile.ZIP_DEFLATED)


def entries_over_one_another() -> bytes:
    """Many directory entries for the same megabyte: read one by one they are a gigabyte."""
    content = npy(np.zeros(1 << 18, np.float32))
    whole = npz(("000.npy", content))
    start = whole.index(b"PK\x01\x02")
    entry, count = whole[start : start + 46], 1000
    directory = b"".join(entry + b"%03d.npy" % number for number in range(count))
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(directory), start, 0)
    return whole[:start] + directory + end


def encrypted() -> bytes:
    whole = bytearray(npz(("x.npy", npy(FLOATS))))
    whole[whole.index(b"PK\x01\x02") + 8] |= 1
    return bytes(whole)


def larger_than_it_is() -> bytes:
    whole = bytearray(npz(("x.npy", npy(FLOATS))))
    struct.pack_into("<II", whole, whole.index(b"PK\x01\x02") + 20, 1 << 30, 1 << 30)
    return bytes(whole)


def pickled() -> bytes:
    made = io.BytesIO()
    np.save(made, np.array([{"a": 1}], dtype=object))
    return npz(("x.npy", made.getvalue()))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (no_zip_at_all(), "no zip"),
        (cut_off(), "cut off"),
        (cut_in_the_data(), ""),
        (damaged(), "checksum"),
        (compressed(), "compressed"),
        (bomb(), "compressed"),
        (entries_over_one_another(), "over one another"),
        (encrypted(), "encrypted"),
        (larger_than_it_is(), "cut off"),
        (pickled(), "pickled"),
        (npz(("x.npy", npy(FLOATS)), ("x", npy(FLOATS))), "two arrays"),
        (npz(("x.txt", b"no array")), "no .npy"),
        (npz(("x.npy", b"\x93NUMPY")), "no .npy"),
        (npz(("x.npy", b"\x93NUMPY\x04\x00\x00\x00\x00\x00\x00\x00")), "version 4"),
        (npz(("x.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff{'descr'")), "4294967295 bytes"),
        (with_header(header(order="True")), "Fortran"),
        (with_header(header(descr="'>f4'")), "big-endian"),
        (with_header(header(descr="'<U4'")), "type <U4"),
        (with_header(header(descr="'<c8'")), "type <c8"),
        (with_header(header(descr="[('a', '<f4')]")), "record"),
        (with_header(header(shape="(1, -4)")), "damaged shape"),
        (with_header(header(shape="(1, 5)")), "not what its shape needs"),
        (with_header(header(shape="(4294967296, 4294967296)")), "not what its shape needs"),
        (with_header(header(shape="(99999999999999999999, 1)")), "too large"),
        (with_header(header(shape=f"({'1, ' * 17})")), "dimensions"),
        (with_header("{'descr': '<f4'}"), "half a header"),
        (with_header("{'descr': '<f4"), "expected"),
        (with_header("{'descr': '<f4', 'descr': '<f4'}"), "unexpected key"),
        (with_header(""), "expected"),
    ],
)
def test_a_damaged_or_hostile_file_is_bad_inputs(
    infer: Callable[..., Said], content: bytes, words: str
) -> None:
    said = infer(content)
    assert isinstance(said.last, reports.BadInputs), said
    assert said.reason.startswith("the file of fixed arrays cannot be read: ")
    assert words in said.reason
    assert said.code == 0


def test_no_cut_of_a_good_file_is_read_or_crashes(infer: Callable[..., Said]) -> None:
    whole = npz(("x.npy", npy(FLOATS)))
    for length in range(1, len(whole), 7):
        assert isinstance(infer(whole[:length]).last, reports.BadInputs), length


@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_version_of_the_format_is_read(infer: Callable[..., Said], version: int) -> None:
    twice = npz(("twice.npy", npy(2 * FLOATS)))
    (error,) = infer(with_header(header(), version), twice).finished.errors
    assert error == reports.OutputError("twice", 0.0, 6.0)


def test_samples_along_the_first_axis_are_inferred_one_by_one(
    infer: Callable[..., Said], tmp_path: Path
) -> None:
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)
    wrong = 2 * rows
    wrong[2, 1] += 3
    inputs, expected = arrays(tmp_path, "in.npz", x=rows), arrays(tmp_path, "out.npz", y=wrong)
    (error,) = infer(inputs, expected).finished.errors
    assert error == reports.OutputError("y", 3.0, 22.0)


@pytest.mark.parametrize(
    "dtype", ["int8", "int16", "int32", "int64", "uint8", "uint64", "float16", "float64", "bool"]
)
def test_numbers_of_another_type_are_taken_where_they_stay_the_same(
    infer: Callable[..., Said], tmp_path: Path, dtype: str
) -> None:
    rows = np.array([[0, 1, 1, 0]]).astype(dtype)
    twice = (2 * rows.astype(np.float32)).astype(np.float64)
    inputs, expected = arrays(tmp_path, "in.npz", x=rows), arrays(tmp_path, "out.npz", y=twice)
    assert infer(inputs, expected).finished.errors[0].largest == 0.0


UNFITTING: dict[str, dict[str, np.ndarray]] = {
    "another type": {"image": np.full((1, 1, 8, 8), 2**24 + 1, np.int64)},
    "another shape": {"image": np.zeros((1, 1, 8, 9), np.float32)},
    "another rank": {"image": np.zeros(4, np.float32)},
    "no array of this name": {"a": FLOATS, "b": FLOATS},
}


@pytest.mark.parametrize("mistake", list(UNFITTING))
def test_arrays_that_do_not_fit_are_told_in_the_words_of_the_python_program(
    runner: Path, tmp_path: Path, mistake: str
) -> None:
    model = GOLDEN.parents[2] / "agent/distillfarm/agent/drivers/host/models/tiny.onnx"
    inputs = str(arrays(tmp_path, "inputs.npz", **UNFITTING[mistake]))
    ordered = order("onnxruntime", "cpu", model, inputs=inputs)
    native, twin = run(runner, ONNXRUNTIME, ordered), run_twin(ordered)
    assert isinstance(native.last, reports.BadInputs)
    assert native.reason == twin.reason


def test_an_unknown_output_is_told_in_the_words_of_the_python_program(
    runner: Path, tmp_path: Path
) -> None:
    images = np.zeros((1, 1, 28, 28), np.float32)
    ordered = order(
        "onnxruntime",
        "cpu",
        GOLDEN / "cnn.onnx",
        inputs=str(arrays(tmp_path, "inputs.npz", image=images)),
        expected=str(arrays(tmp_path, "expected.npz", a=np.zeros((1, 1)), b=np.zeros((1, 1)))),
    )
    native, twin = run(runner, ONNXRUNTIME, ordered), run_twin(ordered)
    assert isinstance(native.last, reports.BadInputs)
    assert native.reason == twin.reason


def test_a_reference_that_is_not_finite_is_bad_inputs(
    infer: Callable[..., Said], tmp_path: Path
) -> None:
    expected = arrays(tmp_path, "out.npz", y=FLOATS * np.float32("nan"))
    said = infer(arrays(tmp_path, "in.npz", x=FLOATS), expected)
    assert isinstance(said.last, reports.BadInputs)
    assert "not finite" in said.reason
