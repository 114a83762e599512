"""What a converter's error comes down to: the operator, or the line of control flow."""

import re
import traceback
from collections.abc import Iterator

from distillfarm.sandbox.text import one_line

_LENGTH = 200
_FACTORY = "factory.py"
# How each converter words that it does not know an operator.
_OPERATORS = re.compile(
    "|".join(
        (
            r"No ONNX function found for <OpOverload\(op='([\w.]+)'",
            r"Exporting the operator '([\w:]+)'",
            r"Lowering not found: ([\w.]+)",
            r"unsupported ATen ops: ([\w.]+)",
            r"Unsupported fx node (\w+)",
            r"convert function for op '([\w:]+)'",
            r"lowering for Torch `(\w+)`",
            r"Not support `(\w+)` op",
            r"Operator torch\._ops\.([\w.]+) is not",
            r"Operator: <EdgeOpOverload: ([\w.]+)>",
        )
    )
)
# By name, so that neither PyTorch's private modules nor JAX need to be loaded to tell them.
_DATA_DEPENDENT = frozenset(
    {
        "ConcretizationTypeError",
        "GuardOnDataDependentSymNode",
        "NonConcreteBooleanIndexError",
        "TracerBoolConversionError",
        "TracerWarning",
        "UserError",
    }
)


def cause(error: BaseException) -> str:
    """The reason in a few words, from the error itself or whichever one brought it about."""
    chain = list(_chain(error))
    for each in chain:
        if type(each).__name__ in _DATA_DEPENDENT:
            return f"control flow depends on the data{_where(chain)}"
    for each in chain:
        found = _OPERATORS.search(str(each))
        if found:
            operator = next(filter(None, found.groups())).replace("::", ".")
            return f"operator {operator} is not supported{_where(chain)}"
    first = next((line for line in str(chain[-1]).splitlines() if line.strip()), "")
    return one_line(f"{type(chain[-1]).__name__}: {first.strip()}", _LENGTH)


def _chain(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or (
            None if current.__suppress_context__ else current.__context__
        )


def _where(chain: list[BaseException]) -> str:
    """The innermost line of the user's own code that was running, if any was."""
    for each in reversed(chain):
        frames = traceback.extract_tb(each.__traceback__)
        lines = [frame for frame in frames if frame.filename == _FACTORY]
        if lines:
            code = one_line(lines[-1].line or "", _LENGTH)
            return f" ({_FACTORY}, line {lines[-1].lineno}: {code})"
    return ""
