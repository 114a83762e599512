"""The parts of the launch program: fixed arrays, the warm-up rule, the timed loop."""

import itertools
import json
import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distillfarm.agent.program import arrays, loop, page_cache
from distillfarm.agent.program.arrays import Error
from distillfarm.agent.program.model import BadInputs, OutOfMemory, Refused, Tensor, runtime_failure
from distillfarm.agent.program.order import Order

FREE = Tensor("x", "float32", (-1, 4))
ONE = Tensor("x", "float32", (1, 4))
SAMPLES = np.arange(12, dtype=np.float32).reshape(3, 4)


def shapes(cases: list[arrays.Case]) -> list[tuple[int, ...]]:
    return [case.inputs["x"].shape for case in cases]


@pytest.mark.parametrize("declared", [FREE, ONE])
def test_samples_are_inferred_one_by_one_whether_the_batch_is_free_or_one(
    declared: Tensor,
) -> None:
    cases = arrays.cases([declared], {"x": SAMPLES}, {"y": SAMPLES[:, :2]})
    assert shapes(cases) == [(1, 4)] * 3
    assert np.array_equal(np.concatenate([case.inputs["x"] for case in cases]), SAMPLES)
    assert [case.expected["y"].shape for case in cases] == [(1, 2)] * 3


def test_a_model_with_a_batch_of_its_own_takes_whole_batches() -> None:
    declared = Tensor("x", "float32", (2, 4))
    assert shapes(arrays.cases([declared], {"x": np.zeros((6, 4), np.float32)}, {})) == [(2, 4)] * 3
    with pytest.raises(BadInputs, match="multiple of the model's batch"):
        arrays.cases([declared], {"x": SAMPLES}, {})


def test_outputs_of_another_length_mean_that_the_first_axis_is_no_batch() -> None:
    cases = arrays.cases([FREE], {"x": SAMPLES}, {"y": np.zeros((1, 2))})
    assert shapes(cases) == [(3, 4)]


def test_inputs_are_made_up_where_none_are_given() -> None:
    token = Tensor("token", "int64", (-1, 7))
    (case,) = arrays.cases([FREE, token], {}, {})
    assert case.inputs["x"].shape == (1, 4)
    assert len(set(case.inputs["x"].ravel())) == 4
    assert case.inputs["token"].tolist() == [[0] * 7]
    with pytest.raises(BadInputs, match="needs fixed inputs"):
        arrays.cases([Tensor("s", "map(string,tensor(float))", (1,))], {}, {})


def test_whole_numbers_may_come_in_a_wider_type_but_must_not_change() -> None:
    tokens = Tensor("x", "int32", (-1,))
    (case,) = arrays.cases([tokens], {"x": np.array([5], np.int64)}, {})
    assert case.inputs["x"].dtype == np.int32
    with pytest.raises(BadInputs, match="takes int32, not int64"):
        arrays.cases([tokens], {"x": np.array([2**40])}, {})


def test_names_decide_and_a_single_pair_needs_none() -> None:
    (case,) = arrays.cases([ONE], {"image": SAMPLES[:1]}, {})
    assert case.inputs["x"].tolist() == SAMPLES[:1].tolist()
    two = [ONE, Tensor("z", "float32", (1,))]
    with pytest.raises(BadInputs, match="no array 'z'; they have a, x"):
        arrays.cases(two, {"x": SAMPLES[:1], "a": np.zeros(1, np.float32)}, {})


def test_errors_are_of_the_largest_difference_and_magnitude() -> None:
    expected = {"y": np.array([1.0, -8.0])}
    (error,) = arrays.compare({"y": np.array([1.5, -8.25], np.float32)}, expected)
    assert error == Error("y", 0.5, 8.0)
    (error,) = arrays.compare({"y": np.array([np.nan, -8.0])}, expected)
    assert error == Error("y", None, 8.0)
    (error,) = arrays.compare({"y": np.zeros((1, 2))}, expected)
    assert error.largest is None
    with pytest.raises(BadInputs, match="no output 'y'; it has a, b"):
        arrays.compare({"a": np.zeros(2), "b": np.zeros(2)}, expected)


def test_the_worst_case_of_each_output_counts_and_a_broken_one_is_never_forgotten() -> None:
    errors = [Error("y", 0.1, 2.0), Error("z", None, 1.0), Error("y", 0.3, 1.0), Error("z", 0.0, 1)]
    assert arrays.worst(errors) == [Error("y", 0.3, 2.0), Error("z", None, 1.0)]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 cut"])
def test_a_file_that_is_no_npz_is_bad_inputs(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "inputs.npz"
    path.write_bytes(content)
    with pytest.raises(BadInputs, match="cannot be read"):
        arrays.read(str(path))


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "inputs.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(BadInputs, match="cannot be read"):
        arrays.read(str(tmp_path / "inputs.npz"))


class Clock:
    """Time that passes only while a scripted inference runs."""

    def __init__(self, durations_ns: Any) -> None:
        self.now_ns = 0
        self.durations_ns = iter(durations_ns)

    def __call__(self) -> int:
        return self.now_ns

    def infer(self) -> None:
        self.now_ns += next(self.durations_ns)


def scripted(monkeypatch: pytest.MonkeyPatch, durations_ns: Any) -> Clock:
    clock = Clock(durations_ns)
    monkeypatch.setattr("time.perf_counter_ns", clock)
    return clock


def test_warm_up_ends_once_three_blocks_brought_no_new_low(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    falling = [900] * 5 + [500] * 5 + [520] * 5 + [300] * 5 + [295] * 100
    clock = scripted(monkeypatch, falling)
    assert loop.warm_up(clock.infer, 50) == falling[:35]
    assert loop.warm_after(falling) == 35


def test_warm_up_that_never_settles_takes_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    falling = [ns for n in range(999, 9, -99) for ns in [n] * 5]
    clock = scripted(monkeypatch, falling)
    assert len(loop.warm_up(clock.infer, 23)) == 23
    assert loop.warm_up(clock.infer, 0) == []
    assert loop.warm_after(falling) is None


@pytest.mark.parametrize(
    ("cold", "fades_after"), [(0.0, 1.0), (0.5, 3.0), (1.0, 10.0), (3.0, 10.0)]
)
def test_warm_up_ends_on_noisy_launches_and_not_before_they_are_warm(
    cold: float, fades_after: float
) -> None:
    """Noise of 10 % inside a launch and one sample in twenty up to three times as slow."""
    rng = np.random.default_rng(6)
    excess = cold * np.exp(-np.arange(200) / fades_after)
    launches = rng.lognormal(0.0, 0.1, (400, 200)) * (1 + excess)
    launches *= np.where(rng.random(launches.shape) < 0.05, 1 + 2 * rng.random(launches.shape), 1)
    ends = [loop.warm_after(list((1e6 * each).astype(int))) for each in launches]
    assert None not in ends
    too_early = [end for end in ends if excess[end - 1 if end else 0] > 0.05]
    assert len(too_early) <= 4


def test_sampling_stops_at_its_time_but_not_before_the_least(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = scripted(monkeypatch, itertools.repeat(10**8))
    assert loop.sample(clock.infer, 100, 2.0, least=10).inferences == 22
    assert loop.sample(clock.infer, 100, 0.2, least=10).inferences == 10
    assert loop.sample(clock.infer, 5, 1e9, least=5) == ([10**8] * 5, 5)


def kept(monkeypatch: pytest.MonkeyPatch, inferences: int, room: int) -> list[int]:
    """The numbers of the inferences that are kept: each takes its number in nanoseconds."""
    clock = scripted(monkeypatch, itertools.count())
    samples, counted = loop.sample(clock.infer, inferences, 1e9, kept=room)
    assert counted == inferences
    return samples


def test_all_samples_are_kept_where_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kept(monkeypatch, 9, 9) == list(range(9))
    assert kept(monkeypatch, 8, 9) == list(range(8))


@pytest.mark.parametrize(("inferences", "room"), [(10, 9), (100, 8), (5000, 64), (70_001, 1000)])
def test_of_too_many_samples_one_of_every_stretch_is_kept(
    monkeypatch: pytest.MonkeyPatch, inferences: int, room: int
) -> None:
    stretch = 2 ** max(0, int(np.ceil(np.log2(inferences / (room - room % 2)))))
    found = kept(monkeypatch, inferences, room)
    assert len(found) <= room
    assert len(found) >= room // 2 - 1
    assert [each // stretch for each in found] == list(range(len(found)))


def test_every_place_of_a_stretch_is_as_likely_to_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    places = np.array(kept(monkeypatch, 63_000, 16_000)) % 4
    counts = np.bincount(places, minlength=4)
    assert counts.sum() == 15_750
    assert np.abs(counts - 3937).max() < 250


def test_the_samples_that_are_kept_are_those_of_every_other_runner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    golden = Path(__file__).parents[2] / "golden" / "iphone_jobs" / "kept_of_100_in_8.json"
    assert kept(monkeypatch, 100, 8) == json.loads(golden.read_text())


def test_a_refused_allocation_is_told_from_a_refused_model() -> None:
    assert isinstance(runtime_failure(RuntimeError("std::bad_alloc")), OutOfMemory)
    assert isinstance(runtime_failure(MemoryError()), OutOfMemory)
    assert isinstance(runtime_failure(ValueError("no kernel for Foo")), Refused)


def test_an_order_survives_its_way_over_the_command_line() -> None:
    order = Order(
        "litert", "none", "/a b/m=1.tflite", "", "ü\"'.npz", 1, 2, 3, 0.5, "first_ever", "/c", 4, 5
    )
    arguments = order.to_arguments()
    assert "model=/a b/m=1.tflite" in arguments
    assert Order.from_arguments(arguments) == order


@pytest.fixture
def pages() -> Iterator[Path]:
    """A file of a mebibyte in the page cache; /var/tmp lies on a disk where /tmp is memory."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = Path(folder) / "model"
        path.write_bytes(b"x" * 2**20)
        yield path


def test_dropped_pages_have_left_the_memory(pages: Path) -> None:
    assert page_cache.resident([str(pages)]) == 1.0
    assert page_cache.drop([str(pages)]) == 0.0
    pages.read_bytes()
    assert page_cache.resident([str(pages)]) == 1.0


def test_pages_that_somebody_has_mapped_stay_and_are_told(pages: Path) -> None:
    other = pages.with_name("other")
    other.write_bytes(b"y" * 3 * 2**20)
    with pages.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
        assert view[:: mmap.PAGESIZE]
        assert page_cache.drop([str(pages), str(other)]) == 0.25


def test_the_libraries_of_a_runtime_are_found_without_importing_it() -> None:
    found = page_cache.libraries(("ai_edge_litert", "numpy", "no_such_package"))
    assert any("ai_edge_litert" in each for each in found)
    assert any("numpy.libs/" in each for each in found)
    assert all(Path(each).is_file() for each in found)


def test_a_cache_is_emptied_whether_it_was_there_or_not(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for _ in range(2):
        page_cache.empty(str(cache))
        assert list(cache.iterdir()) == []
        (cache / "compiled.bin").write_bytes(b"x")
