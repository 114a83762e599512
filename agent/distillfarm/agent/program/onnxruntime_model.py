"""ONNX Runtime: a session on one execution provider, its inputs and outputs bound beforehand."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as state

from distillfarm.agent.program.model import BadInputs, Placed, Refused, Tensor, runtime_failure

if TYPE_CHECKING:
    from distillfarm.agent.program.model import Array, Arrays

VERSION: str = ort.__version__

_SUFFIX = "ExecutionProvider"
# ONNX Runtime's exceptions have no base class of their own.
FAILURES: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    MemoryError,
    *(
        each
        for each in vars(state).values()
        if isinstance(each, type) and issubclass(each, Exception)
    ),
)
_DTYPES = {"float": "float32", "double": "float64"}


class OnnxModel:
    """A session; see ``model.Model``."""

    def __init__(self, path: str, delegate: str, threads: int) -> None:
        """Load ``path`` on the execution provider that ``delegate`` names.

        Raises:
            Refused: no such provider in this build, it does not take the model, or takes nothing.
            OutOfMemory: the session did not fit.
        """
        offered = {
            each.removesuffix(_SUFFIX).lower(): each for each in ort.get_available_providers()
        }
        self._provider = offered.get(delegate, "")
        if not self._provider:
            raise Refused(
                f"ONNX Runtime {VERSION} here has no {delegate!r} execution provider; "
                f"it has {', '.join(sorted(offered))}"
            )
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        try:
            self._session = ort.InferenceSession(path, options, providers=[self._provider])
        except FAILURES as error:
            raise runtime_failure(error) from error
        if self._session.get_providers()[0] != self._provider:
            raise Refused(f"ONNX Runtime fell back from {self._provider} to another provider")

    def inputs(self) -> list[Tensor]:
        """See ``model.Model``."""
        return [_tensor(each) for each in self._session.get_inputs()]

    def bind(self, arrays: "Arrays") -> Callable[[], object]:
        """See ``model.Model``."""
        session, binding = self._session, self._session.io_binding()
        try:
            for name, array in arrays.items():
                binding.bind_cpu_input(name, array)
            for output in session.get_outputs():
                # The first run allocates the output and the binding keeps it for the next ones.
                binding.bind_output(output.name, "cpu")
        except FAILURES as error:
            raise BadInputs(f"ONNX Runtime cannot bind the inputs: {error}") from error
        self._binding = binding
        return partial(session.run_with_iobinding, binding)

    def outputs(self) -> "dict[str, Array]":
        """See ``model.Model``."""
        names = [each.name for each in self._session.get_outputs()]
        return dict(zip(names, self._binding.copy_outputs_to_cpu(), strict=True))

    def placements(self) -> list[Placed]:
        """See ``model.Model``; counted when the graph was given to the providers."""
        counts: Counter[str] = Counter()
        for part in self._session.get_provider_graph_assignment_info():
            counts[part.ep_name] += len(part.get_nodes())
        return [Placed(unit, nodes) for unit, nodes in counts.most_common()]


def _tensor(node: ort.NodeArg) -> Tensor:
    kind = node.type.removeprefix("tensor(").removesuffix(")")
    # A named or unknown dimension is free.
    shape = tuple(each if isinstance(each, int) else -1 for each in node.shape or ())
    return Tensor(node.name, _DTYPES.get(kind, kind), shape)
