"""Says in sentences where a model's cost lies and which technique follows from it."""

from collections.abc import Sequence
from dataclasses import dataclass

from distillfarm.compression.analysis.layers import Facts, Layer
from distillfarm.compression.analysis.roofline import (
    BALANCE_MACS_PER_BYTE,
    Host,
    Limit,
    limit,
    shares,
)
from distillfarm.compression.precision import is_narrow
from distillfarm.domain.model import Sensitivity
from distillfarm.sandbox.text import one_line

_DOMINANT = 0.15
_SHOWN = 3
_MANY_MOVES = 0.4
_FEW_OPERATORS = 10
_SMALL_WEIGHTS_BYTES = 1_000_000
_WORTH_SAYING = 0.2
_CONVOLUTIONS = ("conv",)
_RECURRENT = ("lstm", "gru", "rnn")
_TABLES = ("embedding", "gather")
_MOVES = frozenset({
    "cast", "clone", "concat", "concatenation", "contiguous", "expand", "flatten", "gather",
    "identity", "pad", "permute", "reshape", "slice", "split", "squeeze", "strided_slice", "t",
    "transpose", "unsqueeze", "view", "_unsafe_view",
})  # fmt: skip
# Points of quality that one layer alone may cost before it is named, and below which it is safe.
_HURTS_POINTS = 1.0
_SAFE_POINTS = 0.25


@dataclass(frozen=True)
class Evidence:
    """What the sentences rest on.

    ``layers`` are merged by name and carry their measured times, ``host`` is the computer that
    they were measured on, None where nothing was. ``sensitivity`` may be empty.
    """

    facts: Facts
    layers: Sequence[Layer]
    host: Host | None = None
    sensitivity: Sequence[Sensitivity] = ()
    left_out: str = ""

    @property
    def narrow(self) -> bool:
        """Whether most weights have 8 bits or fewer already."""
        return is_narrow(self.facts.dtypes)


def bottlenecks(found: Evidence) -> tuple[str, ...]:
    """What there is to say, the most telling first: measured time before counts."""
    said = [
        *_by_time(found),
        *_limits(found),
        *_by_macs(found),
        *_by_weights(found.layers),
        *_bound(found.layers),
        *_sensitive(found.sensitivity),
        *_precision(found.facts.dtypes),
        *_recurrent(found.layers),
        *_moves(found.facts.layers),
        *([found.left_out] if found.left_out else []),
    ]
    return tuple(one_line(each) for each in said)


def _by_time(found: Evidence) -> list[str]:
    total = sum(each.time_us or 0.0 for each in found.layers)
    said = []
    for each in sorted(found.layers, key=lambda each: -(each.time_us or 0.0))[:_SHOWN]:
        time_us = each.time_us or 0.0
        if found.host is None or not total or time_us / total < _DOMINANT:
            continue
        kind = limit(each, found.host)
        said.append(
            f"{_named(each)} takes {time_us / total:.0%} of the {total:.0f} us measured in layers"
            f" on this computer, {_WAITS[kind]}: {_remedy(each, found.narrow, kind)}"
            if kind is not None
            else ""
        )
    return list(filter(None, said))


_WAITS = {
    Limit.COMPUTE: "busy with arithmetic",
    Limit.MEMORY: "waiting for memory",
    Limit.OVERHEAD: "far longer than its arithmetic and memory explain",
}


def _remedy(layer: Layer, narrow: bool, kind: Limit | None = None) -> str:
    def is_one(words: Sequence[str]) -> bool:
        return any(word in layer.operator.lower() for word in words)

    advice = (
        (
            kind is Limit.OVERHEAD,
            "fusing it away, fewer layers or a smaller student help; fewer bits hardly do",
        ),
        (
            narrow,
            "the model has few bits already; pruning before quantising or a smaller student help",
        ),
        (is_one(_TABLES), "fewer bits (INT8, INT4) or a low-rank table make it smaller"),
        (
            is_one(_RECURRENT),
            "dynamic INT8 or a student without recurrence help; pruning leaves it alone",
        ),
        (kind is Limit.MEMORY, "fewer bytes help: INT8, weight-only INT4, pruned outputs"),
        (is_one(_CONVOLUTIONS), "prune its channels, or quantise it to static INT8"),
        (True, "quantise it to INT8, prune or factorise it, or distil into a narrower model"),
    )
    return next(text for holds, text in advice if holds)


def _limits(found: Evidence) -> list[str]:
    if found.host is None:
        return []
    parts = shares(found.layers, found.host)
    said = [
        f"{share:.0%} {_LIMITED[kind]}"
        for kind, share in sorted(parts.items(), key=lambda part: -part[1])
        if share >= _WORTH_SAYING
    ]
    if not said:
        return []
    return [f"of the measured time {', '.join(said)}"]


_LIMITED = {
    Limit.COMPUTE: "is bound by arithmetic (fewer multiply-accumulates or INT8 kernels shorten it)",
    Limit.MEMORY: "is bound by memory (fewer bytes shorten it: fewer bits, pruning)",
    Limit.OVERHEAD: (
        "is overhead of starting small operators (only fewer or fused layers shorten it)"
    ),
}


def _by_macs(found: Evidence) -> list[str]:
    layers = found.layers
    total = sum(each.macs for each in layers)
    return [
        f"{_named(each)} does {each.macs / total:.0%} of {_many(total)} multiply-accumulates:"
        f" {_remedy(each, found.narrow)}"
        for each in sorted(layers, key=lambda each: -each.macs)[:_SHOWN]
        if total and each.macs / total >= _DOMINANT
    ]


def _by_weights(layers: Sequence[Layer]) -> list[str]:
    total = sum(each.held_bytes for each in layers)
    return [
        f"{_named(each)} holds {each.held_bytes / total:.0%} of {total / 1e6:.2f} MB of weights"
        f" and uses each byte for {each.macs / each.held_bytes:.1f} multiply-accumulates:"
        " fewer bits (INT8, weight-only INT4) or a low-rank factorisation make it smaller"
        for each in sorted(layers, key=lambda each: -each.held_bytes)[:_SHOWN]
        if total and each.held_bytes / total >= _DOMINANT and total >= _SMALL_WEIGHTS_BYTES
    ]


def _bound(layers: Sequence[Layer]) -> list[str]:
    macs = sum(each.macs for each in layers)
    moved = sum(each.moved_bytes for each in layers)
    if not macs or not moved:
        return []
    if macs / moved < BALANCE_MACS_PER_BYTE:
        return [
            f"memory-bound on a phone: {macs / moved:.1f} multiply-accumulates for each byte moved;"
            " smaller weights and activations (INT8, FP16, pruning) help more than fewer operations"
        ]
    return [
        f"compute-bound on a phone: {macs / moved:.0f} multiply-accumulates for each byte moved;"
        " fewer operations (pruning, a smaller student) and INT8 arithmetic help"
    ]


def _sensitive(found: Sequence[Sensitivity]) -> list[str]:
    """For each technique the layers to leave alone, or that there are none."""
    said = []
    for technique in dict.fromkeys(each.technique for each in found):
        rows = [each for each in found if each.technique == technique]
        worst = sorted(rows, key=lambda each: (-each.drop_points, -each.divergence))
        hurt = [each for each in worst if each.drop_points >= _HURTS_POINTS]
        name = _TECHNIQUES.get(technique, technique)
        if hurt:
            layers = ", ".join(
                f"{one_line(each.layer, 60)!r} ({each.drop_points:.1f} points)"
                for each in hurt[:_SHOWN]
            )
            more = f" and {len(hurt) - _SHOWN} more" if len(hurt) > _SHOWN else ""
            said.append(f"{name} hurts {layers}{more}: {_CARE.get(technique, 'spare them')}")
        elif worst and worst[0].drop_points <= _SAFE_POINTS:
            said.append(
                f"{name} of any one layer costs at most {max(worst[0].drop_points, 0.0):.2f}"
                " points: none needs to be spared"
            )
    return said


_TECHNIQUES = {
    "int8": "INT8 (inputs too)",
    "int4": "INT4 (weights alone)",
    "prune": "pruning half of the outputs, untrained,",
    "low_rank": "half the rank, untrained,",
}
_CARE = {
    "int8": "keep them in more bits (mixed), or train with quantisation (qat)",
    "int4": "keep them in INT8 (mixed)",
    "prune": "prune less, or give it epochs to recover",
    "low_rank": "give them a higher rank",
}


def _precision(dtypes: Sequence[str]) -> list[str]:
    if dtypes[:1] == ("float32",):
        return ["the weights are float32: FP16 halves them, INT8 quarters them"]
    return []


def _recurrent(layers: Sequence[Layer]) -> list[str]:
    named = [each for each in layers if any(word in each.operator.lower() for word in _RECURRENT)]
    if not named:
        return []
    return [
        f"{_named(named[0])} is recurrent: its steps wait for one another, structured pruning"
        " leaves it alone; dynamic INT8 or a student without recurrence helps"
    ]


def _moves(operators: Sequence[Layer]) -> list[str]:
    moves = sum(each.operator.lower() in _MOVES for each in operators)
    if len(operators) < _FEW_OPERATORS or moves / len(operators) < _MANY_MOVES:
        return []
    return [
        f"{moves} of {len(operators)} operators only move or reshape values; a cleaner export or"
        " another layout may remove them"
    ]


def _named(layer: Layer) -> str:
    return f"{one_line(layer.operator, 40)} {one_line(layer.name, 80)!r}"


def _many(count: int) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return str(count)
