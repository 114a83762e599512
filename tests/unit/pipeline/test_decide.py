"""Which variant is chosen, and what is said of it."""

from dataclasses import replace

from made_trials import make_trial

from distillfarm.controller.decide import Entrant, Found, Verified, choose
from distillfarm.controller.evidence import Evidence
from distillfarm.controller.verdict import judge
from distillfarm.domain.measurement import Outcome
from distillfarm.domain.sla import parse_sla
from distillfarm.domain.study import Choice, Metric, PhoneVerdict, Trial, Verdict
from distillfarm.domain.variant import Refusal

SLA = parse_sla("accuracy_drop<=2pt, warm_p90<=10ms")
CHIP = "Google Tensor G2"


def verified(trial: Trial, *phones: str, stable: bool = True) -> Verified:
    """The trial judged by its own score, on each of the phones alike."""
    assert trial.score is not None
    verdict = judge(SLA, Evidence(trial.score))
    judged = tuple(PhoneVerdict(each, verdict, 9) for each in phones)
    final = replace(trial, trial_id=f"final-{trial.trial_id}", final=True)
    return Verified(Entrant(final, stable), verdict, judged)


def decided(
    *finals: Verified,
    searched: tuple[Entrant, ...] = (),
    beside: tuple[Trial, ...] = (),
    objective: Metric = Metric.WARM_P90,
) -> Choice:
    found = Found(CHIP, finals, tuple(map(Entrant, beside)), searched)
    return choose(found, SLA, objective)


ORIGINAL = make_trial("original", p90_ms=2.0, size=16_000, drop=0.0, reference=True)


def test_the_first_that_passes_by_fresh_launches_wins() -> None:
    bad = verified(make_trial("prune(ratio=0.9)", p90_ms=0.5, drop=5.0))
    good = verified(make_trial("int8_static", p90_ms=1.0), "phone-1", "phone-2")
    choice = decided(bad, good)
    assert choice.trial_id == good.trial.trial_id
    assert choice.verdict.verdict is Verdict.PASS
    assert choice.phones == good.phones
    assert "int8_static on onnxruntime/cpu/cpu: meets every bound." in choice.why
    assert "on 2 devices: phone-1 (9 launches) and phone-2 (9 launches)." in choice.why
    assert "not taken: prune(ratio=0.9) on onnxruntime/cpu/cpu is judged fail (5 points" in (
        choice.why
    )


def test_one_phone_alone_is_said_plainly() -> None:
    choice = decided(verified(make_trial(), "phone-1"))
    assert "Judged by fresh launches on one device alone, phone-1 (9 launches)." in choice.why


def test_unstable_emulated_wrong_and_refused_never_win() -> None:
    slow = verified(make_trial("fp16", p90_ms=9.0))
    fast = verified(make_trial("int8_static", p90_ms=0.1))
    trial = fast.trial
    wrong = replace(trial, outcome=Outcome.INCORRECT, outcome_reason="differs by 0.5")
    refused = replace(trial, refusal=Refusal("int8_static", "no"), outcome=None, score=None)
    for loser in (
        Entrant(trial, stable=False),
        Entrant(trial, emulated=True),
        Entrant(wrong),
        Entrant(refused),
        Entrant(replace(trial, outcome=None, outcome_reason="not measured: gone")),
        Entrant(replace(trial, outcome=None, skipped="5 points lost on the host")),
    ):
        lost = replace(fast, entrant=loser)
        assert decided(lost, slow).trial_id == slow.trial.trial_id
        alone = decided(lost)
        assert alone.trial_id == ""
        assert alone.verdict.verdict is Verdict.INCONCLUSIVE
        why = "Not judged: only emulated devices" if loser.emulated else loser.hindrance
        assert why in alone.why


def test_the_original_wins_only_where_nothing_compressed_passes() -> None:
    original, good = verified(ORIGINAL), verified(make_trial("int8_static"))
    bad = verified(make_trial("int8_static", drop=9.0))
    assert decided(good, original).trial_id == good.trial.trial_id
    choice = decided(bad, original)
    assert choice.trial_id == original.trial.trial_id
    assert "No compressed variant could be shown to meet the bounds." in choice.why


def test_what_was_given_up_against_the_original_is_said() -> None:
    choice = decided(verified(make_trial(drop=1.5)), beside=(ORIGINAL,))
    assert "16x smaller, 2x faster in warm p90, given up 1.5 points [1.3, 1.7] of quality" in (
        choice.why
    )
    slower = decided(verified(make_trial(p90_ms=4.0)), beside=(ORIGINAL,))
    assert "2x slower" in slower.why
    same = decided(verified(make_trial(p90_ms=2.001)), beside=(ORIGINAL,))
    assert "no different in warm p90" in same.why
    assert "The original could not be measured beside it." in decided(verified(make_trial())).why


def test_what_was_given_up_against_the_fastest_and_the_smallest_is_said_with_their_verdict() -> (
    None
):
    good = make_trial("int8_static", p90_ms=1.0, drop=1.0, size=1000)
    fast = make_trial("prune(ratio=0.5)", p90_ms=0.25, drop=4.0, size=2000)
    small = make_trial("distill(width=0.25)", p90_ms=3.0, drop=1.0, size=100)
    searched = tuple(map(Entrant, (good, fast, small)))
    choice = decided(verified(good), searched=searched)
    assert choice.trial_id == f"final-{good.trial_id}"
    assert (
        "The fastest, prune(ratio=0.5) on onnxruntime/cpu/cpu, is 4x faster in warm p90,"
        " 2x larger, 3 points worse in accuracy; by its search it would be judged fail (4 points"
    ) in choice.why
    assert "he smallest, distill(width=0.25) on onnxruntime/cpu/cpu, is 3x slower" in choice.why


def test_the_front_and_its_knee_are_named() -> None:
    knee = make_trial("int8_static", p90_ms=1.1, drop=0.2, size=1100)
    fast = make_trial("prune(ratio=0.5)", p90_ms=1.0, drop=1.9, size=1000)
    right = make_trial("fp16", p90_ms=9.0, drop=0.1, size=9000)
    searched = tuple(map(Entrant, (knee, fast, right)))
    at_it = decided(verified(knee), searched=searched)
    assert at_it.knee_trial_id == at_it.trial_id
    assert set(at_it.front) == {at_it.trial_id, fast.trial_id, right.trial_id}
    assert "It is the knee of the front" in at_it.why
    off_it = decided(verified(fast), searched=searched)
    assert off_it.knee_trial_id == knee.trial_id
    assert "The knee of the front, int8_static on onnxruntime/cpu/cpu, is 1.1x slower" in off_it.why
    assert "1.7 points better in accuracy" in off_it.why


def test_the_objective_is_what_is_told_and_compared() -> None:
    chosen = make_trial("int8_static", size=500)
    other = make_trial("fp16", size=400, p90_ms=0.2, drop=9.0)
    choice = decided(
        verified(chosen), searched=(Entrant(chosen), Entrant(other)), objective=Metric.SIZE
    )
    assert "Size 0.0005 MB." in choice.why
    assert "The knee of the front and the smallest, fp16" in choice.why


def test_when_all_fail_the_closest_is_shown_as_failing() -> None:
    near = verified(make_trial("int8_static", p90_ms=5.0, drop=2.5))
    far = verified(make_trial("prune(ratio=0.9)", p90_ms=0.1, drop=9.0))
    choice = decided(far, near)
    assert (choice.trial_id, choice.verdict.verdict) == (near.trial.trial_id, Verdict.FAIL)
    assert "nothing meets the bounds; this comes closest. Broken: 2.5 points" in choice.why


def test_what_would_settle_an_open_bound_is_said() -> None:
    made = verified(make_trial(drop=1.9))
    (drop, p90) = made.verdict.bounds
    open_p90 = replace(p90, verdict=Verdict.INCONCLUSIVE, more_launches=14)
    verdict = replace(made.verdict, verdict=Verdict.INCONCLUSIVE, bounds=(drop, open_p90))
    choice = decided(replace(made, verdict=verdict))
    assert choice.why.endswith(
        "What would settle it: accuracy_drop<=2pt: more test samples; "
        "warm_p90<=10ms: about 14 more launches."
    )


def test_what_hindered_the_others_is_said_when_nothing_was_measured() -> None:
    refused = replace(make_trial(), refusal=Refusal("device", "no such runtime"), score=None)
    choice = decided(searched=(Entrant(refused),))
    assert "refused by device: no such runtime" in choice.why


def test_what_led_the_search_stands_unjudged_where_nothing_could_be_measured_anew() -> None:
    leader, second = make_trial("int8_static"), make_trial("fp16", p90_ms=2.0)
    choice = decided(searched=(Entrant(leader), Entrant(second)))
    assert choice.trial_id == leader.trial_id
    assert choice.verdict.verdict is Verdict.INCONCLUSIVE
    assert "led the search, but could not be measured anew" in choice.why
    assert {each.observed for each in choice.verdict.bounds} == {None}


def test_a_chipset_with_emulated_devices_only_is_not_judged() -> None:
    ran = Entrant(replace(make_trial("fp16"), score=None), emulated=True)
    refused = Entrant(
        replace(make_trial("prune(ratio=0.5)"), refusal=Refusal("prune", "no"), outcome=None)
    )
    choice = decided(searched=(ran, refused))
    assert (choice.trial_id, choice.verdict.verdict) == ("", Verdict.INCONCLUSIVE)
    assert choice.why.startswith("Not judged: only emulated devices of this chipset took part")
    assert all(each.reason == choice.why for each in choice.verdict.bounds)
    crashed = replace(make_trial("int8_static"), outcome=Outcome.CRASHED, outcome_reason="SIGSEGV")
    real = decided(searched=(ran, Entrant(crashed)))
    assert real.why.startswith("Nothing can be chosen.")
    assert "emulated device" in real.why
    assert "SIGSEGV" in real.why
