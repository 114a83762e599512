"""The space of candidates that a model and its targets allow, the most promising first."""

from collections.abc import Iterable, Sequence

from distillfarm.compression import compress
from distillfarm.compression.precision import is_narrow
from distillfarm.compression.zoo.config import student
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import Runtime, Target
from distillfarm.domain.model import Analysis, ModelFormat
from distillfarm.domain.recipe import parse_recipe
from distillfarm.domain.variant import Candidate

# Ways to train, in the order in which they are worth a try with nothing known: what shrinks a lot
# at little loss first, the extremes last.
_DISTILLED = ("distill(width=0.5)", "distill(width=0.25)", "distill(width=0.75)")
_PRUNED = ("prune(ratio=0.5)", "prune(ratio=0.7)", "prune(ratio=0.3)")
_BOTH = "distill(width=0.5)+prune(ratio=0.5)"
_FACTORED, _SPARING = "low_rank", "low_rank(rank=sensitivity)"
_AWARE = "qat"
_STATIC, _DYNAMIC, _HALF, _INT4, _MIXED = "int8_static", "int8_dynamic", "fp16", "int4", "mixed"
_XNNPACK = "int8_xnnpack"
QUANTISERS = (_STATIC, _HALF, _DYNAMIC, _INT4, _MIXED, _XNNPACK)
"""The passes that come last in a recipe, on the exported file or on the way to it."""

_CONVOLUTIONS = ("conv",)
_RECURRENT = ("lstm", "gru", "rnn")
_DENSE = ("matmul", "gemm", "linear", "addmm", "fully_connected", "mm", "attention", "gather")
_FACTORABLE = (*_DENSE, "embedding")
_DOMINANT = 0.5
# Points of quality that one layer alone costs, from which a technique needs care.
_HURTS_POINTS = 1.0


def propose(analysis: Analysis, targets: Sequence[Target]) -> tuple[Candidate, ...]:
    """Every candidate that could be built for ``targets``, in the order to try them blindly.

    The order is the same for every target and targets take turns, so that a prefix of the space
    is a fair first look at each. A recipe with a pass that is not installed, or whose steps do not
    lead to the target's file, is left out, so targets of runtimes without an exporter give none.

    What only packs smaller (``sparsify``, ``cluster``) is never proposed: no bound of an SLA speaks
    of packed sizes, and a device runs such a file no faster. Ask for it by recipe.
    """
    columns = [
        [Candidate(parse_recipe(text), target) for text in _recipes(analysis, target)]
        for target in targets
    ]
    columns = [[each for each in column if _possible(each, analysis)] for column in columns]
    longest = max(map(len, columns), default=0)
    return tuple(column[row] for row in range(longest) for column in columns if row < len(column))


def _possible(candidate: Candidate, analysis: Analysis) -> bool:
    try:
        compress.steps(candidate.recipe, analysis.format, candidate.target)
    except InvalidRequest:
        return False
    return True


def _recipes(analysis: Analysis, target: Target) -> list[str]:
    tails = _quantisers(analysis, target)
    trained = _trainers(analysis)
    if not tails:
        return [*trained, "original"]
    aware = _aware(analysis, target, trained, tails)
    best = tails[0]
    # What has few bits already is quantised only once a student has many again.
    plain = not is_narrow(analysis.dtypes)
    said = [
        *([best] if plain else ()),
        *(f"{head}+{best}" for head in trained[:1]),
        # Quantising without training has been seen to hurt: train with it before all else.
        *(aware if _hurts(analysis, "int8") else ()),
        *(f"{head}+{best}" for head in trained[1:]),
        *(tails[1:] if plain else ()),
        *aware,
        *(f"{head}+{tail}" for tail in tails[1:] for head in trained),
        *trained,
        "original",
    ]
    return list(dict.fromkeys(said))


def _trainers(analysis: Analysis) -> tuple[str, ...]:
    """Pruning and factorising need the module itself; a student needs only answers to learn."""
    module = analysis.format is ModelFormat.TORCH_MODULE
    factored = _factored(analysis)
    # Where pruning has been seen to hurt, the gentlest first, after what has not.
    pruned = sorted(_PRUNED) if _hurts(analysis, "prune") else _PRUNED
    rather = _hurts(analysis, "prune") and not _hurts(analysis, _FACTORED)
    own: tuple[str, ...] = ()
    if module:
        own = (*factored, *pruned) if rather else (*pruned, *factored)
    if not _has_student(analysis):
        return own
    if module:
        return (_BOTH, own[0], _DISTILLED[0], *own[1:], *_DISTILLED[1:])
    return (_DISTILLED[0], _BOTH, *_DISTILLED[1:])


def _factored(analysis: Analysis) -> tuple[str, ...]:
    """Factorising, where dense layers and tables do most of the work or hold most parameters."""
    held = sum(each.parameters for each in analysis.layers if _named(each.operator, _FACTORABLE))
    if _share(analysis, _DENSE) <= _DOMINANT and held <= _DOMINANT * analysis.parameters:
        return ()
    return (_SPARING,) if _hurts(analysis, _FACTORED) else (_FACTORED,)


def _aware(
    analysis: Analysis, target: Target, trained: Sequence[str], tails: Sequence[str]
) -> tuple[str, ...]:
    """Training under rounding, before the quantiser that it prepares for."""
    pairs = [f"{_AWARE}+{_STATIC}"] if _STATIC in tails else []
    if any(_INT4 in tail for tail in tails) and _hurts(analysis, _INT4):
        pairs.append(f"{_AWARE}(bits=4,runtime={target.runtime.value})+{_INT4}")
    before = [*(("",) if analysis.format is ModelFormat.TORCH_MODULE else ()), *trained[:1]]
    return tuple("+".join(filter(None, (head, pair))) for pair in pairs for head in before)


def _quantisers(analysis: Analysis, target: Target) -> tuple[str, ...]:
    """The target's quantisers, those that fit the model's operators best first; some have none."""
    convolutions, recurrent = _share(analysis, _CONVOLUTIONS), _share(analysis, _RECURRENT)
    dense = _share(analysis, _DENSE)
    match target.runtime:
        case Runtime.EXECUTORCH:
            dynamic = f"{_XNNPACK}(activations=dynamic)"
            return (_XNNPACK, dynamic) if dense <= _DOMINANT else (dynamic, _XNNPACK)
        case Runtime.COREML:
            return (_HALF, _DYNAMIC, _INT4)
        case Runtime.COREAI:
            return ()
    tails = [_STATIC, _HALF, _DYNAMIC]
    if recurrent > _DOMINANT:
        # The range of a state that is fed back grows with every step: static ranges break it.
        tails = [_DYNAMIC, _HALF, _STATIC]
    elif _hurts(analysis, "int8"):
        tails.insert(1, _MIXED)
    else:
        tails.append(_MIXED)
    # ONNX Runtime's kernel of 4 bits takes matrix products alone, and LiteRT's much the same: on
    # anything else the pass changes next to nothing.
    if dense > _DOMINANT:
        tails.append(f"{_MIXED}(technique={_INT4})" if _hurts(analysis, "int4") else _INT4)
    if target.runtime is Runtime.ONNXRUNTIME and convolutions > _DOMINANT:
        # ONNX Runtime's dynamic INT8 convolutions are an order of magnitude slower than FP32
        # (microsoft/onnxruntime issue 15888), so they are no candidate for such a model.
        tails.remove(_DYNAMIC)
    return tuple(tails)


def _has_student(analysis: Analysis) -> bool:
    try:
        student(analysis.signature, 1.0)
    except InvalidRequest:
        return False
    return True


def _hurts(analysis: Analysis, technique: str) -> bool:
    """Whether the technique costs much on some layer alone."""
    return any(
        each.drop_points >= _HURTS_POINTS
        for each in analysis.sensitivity
        if each.technique == technique
    )


def _share(analysis: Analysis, words: Iterable[str]) -> float:
    """The part of the multiply-accumulates that layers, or else operators, of such a kind do."""
    # PyTorch runs a recurrent layer as products; only the layer's own name tells.
    known = analysis.layers or analysis.operators
    macs = sum(each.macs for each in known if _named(each.operator, words))
    return macs / analysis.macs if analysis.macs else 0.0


def _named(operator: str, words: Iterable[str]) -> bool:
    return any(word in operator.lower() for word in words)
