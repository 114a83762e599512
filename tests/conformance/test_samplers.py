"""Every sampler proposes each candidate at most once and repeats itself for a seed."""

import pytest

from distillfarm.compression import samplers
from distillfarm.compression.protocols import Observation, Sampler
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.recipe import parse_recipe
from distillfarm.domain.variant import Candidate

HEADS = ("", "distill(width=0.25)", "distill(width=0.5)", "prune(ratio=0.5)", "prune(ratio=0.7)")
TAILS = ("int8_static", "fp16", "int8_dynamic")
SPACE = tuple(
    Candidate(parse_recipe("+".join(filter(None, (head, tail)))), parse_target(target))
    for head in HEADS
    for tail in TAILS
    for target in ("onnxruntime", "litert")
)


def observe(candidate: Candidate) -> Observation:
    """LiteRT, INT8 and narrow students are fast here; FP16 on ONNX Runtime is refused."""
    text = str(candidate)
    if "fp16 on onnxruntime" in text:
        return Observation(candidate, None, None)
    latency = 1.0 + 3 * ("onnxruntime" in text) + 2 * ("int8_static" not in text)
    drop = 2.5 if "0.25" in text else 0.5
    return Observation(candidate, (latency / (1 + 2 * ("0.7" in text)), drop), (drop - 2.0,))


class SamplerConformance:
    """What the Sampler protocol promises."""

    name: str

    def create(self, seed: int = 1) -> Sampler:
        return samplers.create(self.name, SPACE, seed)

    def search(self, sampler: Sampler, rounds: int) -> list[Candidate]:
        asked: list[Candidate] = []
        for _ in range(rounds):
            batch = sampler.ask(2)
            asked.extend(batch)
            for candidate in batch:
                sampler.tell(observe(candidate))
        return asked

    def test_visits_the_whole_space_once_and_then_stops(self) -> None:
        sampler = self.create()
        asked = self.search(sampler, rounds=len(SPACE) // 2)
        assert sorted(map(str, asked)) == sorted(map(str, SPACE))
        assert list(sampler.ask(1)) == []

    def test_same_seed_and_history_give_the_same_proposals(self) -> None:
        assert self.search(self.create(), 6) == self.search(self.create(), 6)

    def test_history_replayed_into_a_new_sampler_continues_the_search(self) -> None:
        first = self.create()
        history = self.search(first, 5)
        second = self.create()
        for candidate in history:
            second.tell(observe(candidate))
        assert second.ask(2) == first.ask(2)

    def test_never_asks_for_more_than_wanted(self) -> None:
        assert len(self.create().ask(3)) == 3

    def test_a_space_of_refusals_is_still_walked_to_its_end(self) -> None:
        sampler = self.create()
        asked = 0
        while batch := sampler.ask(4):
            asked += len(batch)
            for candidate in batch:
                sampler.tell(Observation(candidate, None, None))
        assert asked == len(SPACE)


class TestGrid(SamplerConformance):
    name = "grid"


class TestTpe(SamplerConformance):
    name = "tpe"

    def test_finds_the_fast_corner_sooner_than_chance(self) -> None:
        best = min(SPACE, key=lambda each: (observe(each).objectives or (99.0, 99.0))[0])
        looks = [self.looks_until(best, self.create(seed)) for seed in range(8)]
        chance = (1 + len(SPACE)) / 2
        assert sum(looks) / len(looks) < chance

    def looks_until(self, best: Candidate, sampler: Sampler) -> int:
        """How many candidates are asked for until it is ``best``, two at a time."""
        looks = 0
        while batch := sampler.ask(2):
            for candidate in batch:
                looks += 1
                if candidate == best:
                    return looks
                sampler.tell(observe(candidate))
        raise AssertionError(f"{best} was never asked for")

    def test_learns_of_each_way_to_train_apart(self) -> None:
        students = ("", "distill(width=0.5)", "distill(width=0.25)")
        cuts = ("", "prune(ratio=0.5)", "prune(ratio=0.7)")
        space = [
            Candidate(parse_recipe("+".join(filter(None, (head, cut, tail)))), SPACE[0].target)
            for head in students
            for cut in cuts
            for tail in TAILS
        ]

        def latency(candidate: Candidate) -> float:
            # What each pass saves adds up, so that one is learnt of from recipes with any other.
            text = str(candidate)
            return 9.0 - 2 * ("0.25" in text) - 3 * ("0.7" in text) - 2 * ("int8_dynamic" in text)

        best = min(space, key=latency)
        looks = []
        for seed in range(6):
            sampler = samplers.create(self.name, space, seed)
            asked: list[Candidate] = []
            while best not in asked:
                (candidate,) = sampler.ask(1)
                asked.append(candidate)
                sampler.tell(Observation(candidate, (latency(candidate), 0.0), (0.0,)))
            looks.append(len(asked))
        assert sum(looks) / len(looks) < (1 + len(space)) / 2


def test_an_unknown_sampler_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequest, match="grid, tpe"):
        samplers.create("magic", SPACE, 0)
