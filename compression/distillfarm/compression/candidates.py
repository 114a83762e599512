"""The space of candidates that a model and its targets allow, the most promising first."""

from collections.abc import Iterable, Sequence

from distillfarm.compression.zoo.config import student
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import Runtime, Target
from distillfarm.domain.model import Analysis, ModelFormat
from distillfarm.domain.recipe import parse_recipe
from distillfarm.domain.variant import Candidate

# Training recipes in the order in which they are worth a try with nothing known: what shrinks a
# lot at little loss first, the extremes last.
_DISTILLED = ("distill(width=0.5)", "distill(width=0.25)", "distill(width=0.75)")
_PRUNED = ("prune(ratio=0.5)", "prune(ratio=0.7)", "prune(ratio=0.3)")
_BOTH = ("distill(width=0.5)+prune(ratio=0.5)",)
QUANTISERS = ("int8_static", "fp16", "int8_dynamic")
"""The passes that come last in a recipe, on the exported file."""

# The formats that a runtime's exporter reaches without training a student first.
_EXPORTABLE = {
    Runtime.ONNXRUNTIME: frozenset(
        {
            ModelFormat.ONNX,
            ModelFormat.KERAS,
            ModelFormat.TORCH_EXPORT,
            ModelFormat.TORCH_MODULE,
        }
    ),
    Runtime.LITERT: frozenset(
        {
            ModelFormat.TFLITE,
            ModelFormat.KERAS,
            ModelFormat.SAVED_MODEL,
            ModelFormat.TORCH_EXPORT,
            ModelFormat.TORCH_MODULE,
        }
    ),
}
_CONVOLUTION_SHARE = 0.5


def propose(analysis: Analysis, targets: Sequence[Target]) -> tuple[Candidate, ...]:
    """Every candidate that could be built for ``targets``, in the order to try them blindly.

    The order is the same for every target and targets take turns, so that a prefix of the space
    is a fair first look at each. Targets of runtimes without an exporter give no candidates.
    """
    columns = [
        [Candidate(parse_recipe(text), target) for text in _recipes(analysis, target)]
        for target in targets
    ]
    longest = max(map(len, columns), default=0)
    return tuple(column[row] for row in range(longest) for column in columns if row < len(column))


def _recipes(analysis: Analysis, target: Target) -> list[str]:
    if target.runtime not in _EXPORTABLE:
        return []
    tails = tuple(_quantisers(analysis, target))
    trained = _trainers(analysis)
    first = [f"{head}+{tails[0]}" for head in trained[:1]]
    rest = [f"{head}+{tail}" for tail in tails for head in trained] + list(trained)
    if analysis.format in _EXPORTABLE[target.runtime]:
        first = [tails[0], *first]
        rest = [*rest, *tails[1:], "original"]
    return list(dict.fromkeys([*first, *rest]))


def _trainers(analysis: Analysis) -> tuple[str, ...]:
    # Pruning needs the module itself; a student needs only the teacher's answers.
    if not _has_student(analysis):
        return _PRUNED if analysis.format is ModelFormat.TORCH_MODULE else ()
    if analysis.format is ModelFormat.TORCH_MODULE:
        return (_BOTH[0], _PRUNED[0], _DISTILLED[0], *_PRUNED[1:], *_DISTILLED[1:])
    return (_DISTILLED[0], *_BOTH, *_DISTILLED[1:])


def _has_student(analysis: Analysis) -> bool:
    try:
        student(analysis.signature, 1.0)
    except InvalidRequest:
        return False
    return True


def _quantisers(analysis: Analysis, target: Target) -> Iterable[str]:
    for name in QUANTISERS:
        # ONNX Runtime's dynamic INT8 convolutions are an order of magnitude slower than FP32
        # (microsoft/onnxruntime issue 15888), so they are no candidate for such a model.
        slow = name == "int8_dynamic" and target.runtime is Runtime.ONNXRUNTIME
        if not (slow and _convolution_share(analysis) > _CONVOLUTION_SHARE):
            yield name


def _convolution_share(analysis: Analysis) -> float:
    convolutions = sum(each.macs for each in analysis.operators if "conv" in each.operator.lower())
    return convolutions / analysis.macs if analysis.macs else 0.0
