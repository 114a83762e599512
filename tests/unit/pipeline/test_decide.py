"""Which variant is chosen, and what is said of it."""

from dataclasses import replace

import farm_samples
from made_trials import make_trial

from distillfarm.controller.decide import Entrant, choose, front, lost, shortlist
from distillfarm.domain.measurement import Outcome
from distillfarm.domain.sla import parse_sla
from distillfarm.domain.study import Verdict
from distillfarm.domain.variant import Refusal

SLA = parse_sla("accuracy_drop<=2pt, warm_p90<=10ms")


def chosen(*entrants: Entrant) -> str:
    return choose("chip", entrants, SLA).trial_id


def test_the_fastest_that_meets_the_bounds_wins() -> None:
    fast_but_bad = make_trial("prune(ratio=0.9)", p90_ms=0.5, drop=5.0)
    good = make_trial("int8_static", p90_ms=1.0)
    slow = make_trial("fp16", p90_ms=2.0)
    choice = choose("chip", [*map(Entrant, (slow, fast_but_bad, good))], SLA)
    assert choice.trial_id == good.trial_id
    assert choice.verdict.verdict is Verdict.PASS
    assert "Second is fp16 on onnxruntime/cpu/cpu, 100% slower in p90." in choice.why


def test_within_overlapping_intervals_the_smaller_wins_then_the_more_accurate() -> None:
    fastest = make_trial("fp16", p90_ms=1.00, margin_ms=0.1, size=2000)
    smaller = make_trial("int8_static", p90_ms=1.05, margin_ms=0.1, size=1000)
    right = make_trial("int8_dynamic", p90_ms=1.07, margin_ms=0.1, size=1000, drop=0.3)
    apart = make_trial("prune(ratio=0.5)", p90_ms=3.0, margin_ms=0.1, size=10)
    assert chosen(*map(Entrant, (fastest, smaller, apart))) == smaller.trial_id
    assert chosen(*map(Entrant, (fastest, smaller, right, apart))) == right.trial_id


def test_unstable_emulated_wrong_and_refused_never_win() -> None:
    slow = make_trial("fp16", p90_ms=9.0)
    fast = make_trial("int8_static", p90_ms=0.1)
    wrong = replace(fast, outcome=Outcome.INCORRECT, outcome_reason="differs by 0.5")
    refused = replace(fast, refusal=Refusal("int8_static", "no"), outcome=None, score=None)
    for loser in (
        Entrant(fast, stable=False),
        Entrant(fast, emulated=True),
        Entrant(wrong),
        Entrant(refused),
        Entrant(replace(fast, outcome=None, outcome_reason="not measured: gone")),
    ):
        assert chosen(loser, Entrant(slow)) == slow.trial_id
        alone = choose("chip", [loser], SLA)
        assert alone.trial_id == ""
        assert alone.verdict.verdict is Verdict.INCONCLUSIVE
        why = "Not judged: only emulated devices" if loser.emulated else loser.hindrance
        assert why in alone.why


def test_the_original_wins_only_where_nothing_compressed_passes() -> None:
    original = make_trial("original", p90_ms=0.5, size=9000, drop=0.0, reference=True)
    good = make_trial("int8_static", p90_ms=1.0)
    bad = make_trial("int8_static", p90_ms=1.0, drop=9.0)
    assert chosen(Entrant(original), Entrant(good)) == good.trial_id
    choice = choose("chip", [Entrant(original), Entrant(bad)], SLA)
    assert choice.trial_id == original.trial_id
    assert "No compressed variant could be shown to meet the bounds." in choice.why


def test_what_was_given_up_against_the_original_is_said() -> None:
    original = make_trial("original", p90_ms=2.0, size=16_000, drop=0.0, reference=True)
    choice = choose("chip", [Entrant(original), Entrant(make_trial(drop=1.5))], SLA)
    assert "16x smaller, 2x faster, given up 1.5 points [1.3, 1.7] of quality." in choice.why
    slower = choose("chip", [Entrant(original), Entrant(make_trial(p90_ms=4.0))], SLA)
    assert "2x slower" in slower.why
    same = choose("chip", [Entrant(original), Entrant(make_trial(p90_ms=2.0))], SLA)
    assert "no different in speed" in same.why


def test_what_would_have_been_faster_is_told_with_its_verdict() -> None:
    good = make_trial("int8_static", p90_ms=1.0, drop=1.0)
    fast = make_trial("prune(ratio=0.5)", p90_ms=0.25, drop=1.9)
    choice = choose("chip", [Entrant(good)], SLA, [Entrant(fast)])
    assert choice.trial_id == good.trial_id
    assert "Passed over: prune(ratio=0.5) on onnxruntime/cpu/cpu, 4x faster" in choice.why
    assert "judged inconclusive (1.9 points [1.7, 2.1] against accuracy_drop<=2pt" in choice.why


def test_when_all_fail_the_closest_is_shown_as_failing() -> None:
    near = make_trial("int8_static", p90_ms=5.0, drop=2.5)
    far = make_trial("prune(ratio=0.9)", p90_ms=0.1, drop=9.0)
    choice = choose("chip", [*map(Entrant, (far, near))], SLA)
    assert (choice.trial_id, choice.verdict.verdict) == (near.trial_id, Verdict.FAIL)
    assert "nothing meets the bounds; this comes closest" in choice.why


def test_what_hindered_the_others_is_said_when_nothing_was_measured() -> None:
    refused = replace(make_trial(), refusal=Refusal("device", "no such runtime"), score=None)
    choice = choose("chip", [], SLA, [Entrant(refused)])
    assert "refused by device: no such runtime" in choice.why


def test_the_shortlist_looks_at_the_selection_split_only() -> None:
    # On the test split the first is better; the search must not know.
    lucky = make_trial("fp16", p90_ms=1.0, drop=0.1, search_drop=5.0)
    sound = make_trial("int8_static", p90_ms=3.0, drop=5.0, search_drop=0.1)
    best = shortlist([*map(Entrant, (lucky, sound))], SLA, 2)
    assert best == [sound, lucky]


def test_the_shortlist_takes_the_front_first() -> None:
    winner = make_trial("int8_static", p90_ms=1.0, size=100, drop=0.5)
    dominated = make_trial("fp16", p90_ms=1.5, size=200, drop=0.6)
    other = make_trial("prune(ratio=0.5)", p90_ms=2.0, size=50, drop=0.5)
    best = shortlist([*map(Entrant, (dominated, other, winner))], SLA, 2)
    assert best == [winner, other]


def test_the_front_holds_what_nothing_beats() -> None:
    small = make_trial("int8_static", p90_ms=2.0, size=10)
    fast = make_trial("fp16", p90_ms=1.0, size=99)
    beaten = make_trial("prune(ratio=0.5)", p90_ms=3.0, size=99)
    unmeasured = replace(make_trial("distill(width=0.5)"), score=None)
    assert front([small, fast, beaten, unmeasured]) == {small.trial_id, fast.trial_id}


def test_the_choice_does_not_depend_on_the_order_of_trials() -> None:
    trials = [
        make_trial(f"prune(ratio=0.{n})", p90_ms=1.0 + 0.005 * n, margin_ms=0.02, target=target)
        for n in range(1, 5)
        for target in (farm_samples.ONNX, farm_samples.LITERT)
    ]
    entrants = [Entrant(each) for each in trials]
    assert chosen(*entrants) == chosen(*reversed(entrants))


def test_a_chipset_with_emulated_devices_only_is_not_judged() -> None:
    ran = Entrant(replace(make_trial("fp16"), score=None), emulated=True)
    refused = Entrant(
        replace(make_trial("prune(ratio=0.5)"), refusal=Refusal("prune", "no"), outcome=None)
    )
    choice = choose("chip", [ran], SLA, [refused])
    assert (choice.trial_id, choice.verdict.verdict) == ("", Verdict.INCONCLUSIVE)
    assert choice.why.startswith("Not judged: only emulated devices of this chipset took part")
    assert all(each.reason == choice.why for each in choice.verdict.bounds)
    crashed = replace(make_trial("fp16"), outcome=Outcome.CRASHED, outcome_reason="SIGSEGV")
    real = choose("chip", [ran], SLA, [Entrant(crashed)])
    assert real.why.startswith("Nothing can be chosen.")
    assert "emulated device" in real.why
    assert "SIGSEGV" in real.why


def test_a_chipset_is_lost_when_nothing_that_was_built_got_an_outcome() -> None:
    gone = replace(make_trial(), chipset="gone", outcome=None, score=None)
    mixed = replace(gone, chipset="mixed")
    refused = replace(gone, chipset="refused", exported=None, refusal=Refusal("prune", "no"))
    trials = [gone, mixed, replace(make_trial(), chipset="mixed"), refused]
    assert lost([*map(Entrant, trials)]) == ["gone"]
    assert lost([]) == []
