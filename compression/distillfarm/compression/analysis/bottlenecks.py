"""Says in sentences where a model's cost lies and which technique follows from it."""

from collections.abc import Sequence

from distillfarm.compression.analysis.layers import Facts, Layer
from distillfarm.sandbox.text import one_line

# About what a phone's CPU core multiplies and accumulates in the time of fetching one byte from
# memory (roofline model, Williams et al. 2009); below it, memory is what is waited for.
_BALANCE_MACS_PER_BYTE = 8.0
_DOMINANT = 0.15
_SHOWN = 3
_MANY_MOVES = 0.4
_FEW_OPERATORS = 10
_SMALL_WEIGHTS_BYTES = 1_000_000
_CONVOLUTIONS = ("conv",)
_RECURRENT = ("lstm", "gru", "rnn")
_MOVES = frozenset({
    "cast", "clone", "concat", "concatenation", "contiguous", "expand", "flatten", "gather",
    "identity", "pad", "permute", "reshape", "slice", "split", "squeeze", "strided_slice", "t",
    "transpose", "unsqueeze", "view", "_unsafe_view",
})  # fmt: skip


def bottlenecks(found: Facts) -> tuple[str, ...]:
    """At most a handful of sentences, the worst first."""
    said = [
        *_by_macs(found.layers),
        *_by_weights(found),
        *_bound(found.layers),
        *_precision(found),
        *_recurrent(found.layers),
        *_moves(found.layers),
    ]
    return tuple(one_line(each) for each in said)


def _by_macs(layers: Sequence[Layer]) -> list[str]:
    total = sum(each.macs for each in layers)
    return [
        f"{_named(each)} does {each.macs / total:.0%} of {_many(total)} multiply-accumulates:"
        f" {_remedy(each)}"
        for each in sorted(layers, key=lambda each: -each.macs)[:_SHOWN]
        if total and each.macs / total >= _DOMINANT
    ]


def _remedy(layer: Layer) -> str:
    if any(word in layer.operator.lower() for word in _CONVOLUTIONS):
        return "prune its channels, or quantise it to static INT8"
    return "quantise it to INT8, prune it, or distil into a narrower model"


def _by_weights(found: Facts) -> list[str]:
    total = sum(each.weight_bytes for each in found.layers)
    return [
        f"{_named(each)} holds {each.weight_bytes / total:.0%} of {total / 1e6:.2f} MB of weights"
        f" and uses each byte for {each.macs / each.weight_bytes:.1f} multiply-accumulates:"
        " INT8 or a low-rank factorisation makes it smaller"
        for each in sorted(found.layers, key=lambda each: -each.weight_bytes)[:_SHOWN]
        if total and each.weight_bytes / total >= _DOMINANT and total >= _SMALL_WEIGHTS_BYTES
    ]


def _bound(layers: Sequence[Layer]) -> list[str]:
    macs = sum(each.macs for each in layers)
    moved = sum(each.weight_bytes + each.activation_bytes for each in layers)
    if not macs or not moved:
        return []
    if macs / moved < _BALANCE_MACS_PER_BYTE:
        return [
            f"memory-bound: {macs / moved:.1f} multiply-accumulates for each byte moved; smaller"
            " weights and activations (INT8, FP16, pruning) help more than fewer operations"
        ]
    return [
        f"compute-bound: {macs / moved:.0f} multiply-accumulates for each byte moved; fewer"
        " operations (pruning, a smaller student) and INT8 arithmetic help"
    ]


def _precision(found: Facts) -> list[str]:
    if found.dtypes[:1] == ("float32",):
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


def _moves(layers: Sequence[Layer]) -> list[str]:
    moves = sum(each.operator.lower() in _MOVES for each in layers)
    if len(layers) < _FEW_OPERATORS or moves / len(layers) < _MANY_MOVES:
        return []
    return [
        f"{moves} of {len(layers)} operators only move or reshape values; a cleaner export or"
        " another layout may remove them"
    ]


def _named(layer: Layer) -> str:
    return f"{one_line(layer.operator, 40)} {one_line(layer.name, 80)!r}"


def _many(count: int) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return str(count)
