"""Where the time goes on a computer of known speed, and the sentences that follow."""

import pytest

from distillfarm.compression.analysis.bottlenecks import Evidence, bottlenecks
from distillfarm.compression.analysis.layers import Facts, Layer, merged, worst_first
from distillfarm.compression.analysis.roofline import Host, Limit, limit, measure_host, shares
from distillfarm.domain.model import Sensitivity

HOST = Host(macs_per_us=10_000.0, bytes_per_us=5_000.0)
BUSY = Layer("conv", "Conv", macs=1_000_000, activation_bytes=10_000, time_us=120.0)
WAITING = Layer("fc", "Gemm", macs=500_000, weight_bytes=2_000_000, time_us=500.0)
SMALL = Layer("add", "Add", activation_bytes=100, time_us=5.0)


@pytest.mark.parametrize(
    ("layer", "kind"),
    [(BUSY, Limit.COMPUTE), (WAITING, Limit.MEMORY), (SMALL, Limit.OVERHEAD)],
)
def test_a_layer_is_limited_by_what_takes_longest(layer: Layer, kind: Limit) -> None:
    assert limit(layer, HOST) is kind


def test_a_layer_that_was_not_timed_is_not_judged() -> None:
    assert limit(Layer("x", "Add", macs=10), HOST) is None


def test_shares_of_time_add_up() -> None:
    found = shares([BUSY, WAITING, SMALL], HOST)
    assert sum(found.values()) == pytest.approx(1.0)
    assert found[Limit.MEMORY] == pytest.approx(500 / 625)


def test_the_host_multiplies_and_copies_at_some_speed() -> None:
    host = measure_host()
    assert host.macs_per_us > 100
    assert host.bytes_per_us > 100


def test_operators_of_one_layer_are_added_up_under_what_it_is() -> None:
    parts = [
        Layer("gru", "addmm", macs=5, weight_bytes=8, parameters=2, kind="GRU"),
        Layer("gru", "sigmoid", activation_bytes=3, kind="GRU"),
        Layer("head", "addmm", macs=9),
    ]
    gru, head = merged(parts, {"gru": 7.0})
    assert (gru.operator, gru.macs, gru.moved_bytes, gru.parameters) == ("GRU", 5, 11, 2)
    assert (gru.time_us, head.time_us) == (7.0, None)
    assert worst_first([head, gru]) == (gru, head)


def said(*layers: Layer, sensitivity: tuple[Sensitivity, ...] = ()) -> str:
    facts = Facts(1, layers, ("float32",))
    return "\n".join(bottlenecks(Evidence(facts, layers, HOST, sensitivity)))


def test_the_layer_that_takes_the_time_is_named_with_its_remedy() -> None:
    text = said(BUSY, WAITING, SMALL)
    assert "Gemm 'fc' takes 80% of the 625 us measured in layers on this computer" in text
    assert "waiting for memory: fewer bytes help" in text
    assert "of the measured time 80% is bound by memory" in text


def test_overhead_is_not_blamed_on_bits() -> None:
    text = said(SMALL)
    assert "Add 'add' takes 100%" in text
    assert "fewer bits hardly do" in text


def test_a_technique_that_hurts_a_layer_is_said_with_what_to_do() -> None:
    found = (
        Sensitivity("first", "int8", 0.5, 12.0),
        Sensitivity("second", "int8", 0.0, 0.0),
        Sensitivity("first", "int4", 0.0, 0.1),
        Sensitivity("first", "prune", 0.1, 0.6),
    )
    text = said(BUSY, sensitivity=found)
    assert "INT8 (inputs too) hurts 'first' (12.0 points): keep them in more bits (mixed)" in text
    assert "INT4 (weights alone) of any one layer costs at most 0.10 points" in text
    assert "pruning half" not in text  # between safe and harmful nothing is claimed


def test_nothing_is_said_of_time_that_nobody_measured() -> None:
    layers = (Layer("conv", "Conv", macs=10, activation_bytes=10),)
    text = "\n".join(bottlenecks(Evidence(Facts(1, layers, ("int8",)), layers)))
    assert "measured" not in text
    assert "memory-bound on a phone" in text


def test_fewer_bits_are_no_advice_to_a_model_that_has_few() -> None:
    text = "\n".join(bottlenecks(Evidence(Facts(1, (BUSY,), ("int8",)), (BUSY,), HOST)))
    assert "few bits already" in text
    assert "quantise it" not in text
