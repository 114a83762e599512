"""LiteRT: an interpreter with or without XNNPACK, its tensors set beforehand."""

from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from distillfarm.agent.program.model import BadInputs, Placed, Refused, Tensor, runtime_failure

if TYPE_CHECKING:
    from distillfarm.agent.program.model import Array, Arrays

VERSION = version("ai-edge-litert")
FAILURES = (RuntimeError, ValueError, MemoryError)

_RESOLVERS = {
    "xnnpack": OpResolverType.BUILTIN,
    "none": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
}
# What LiteRT calls a node that a delegate put in place of others, and its own kernels.
_DELEGATE_NODE = "DELEGATE"
_BUILTIN = "BUILTIN"


class LitertModel:
    """An interpreter; see ``model.Model``."""

    def __init__(self, path: str, delegate: str, threads: int) -> None:
        """Load ``path``; XNNPACK must take at least one operator when it is asked for.

        Raises:
            Refused: no such delegate here, an operator without a kernel, a file that is no model,
                or a silent fall back to the built-in kernels.
            OutOfMemory: the tensors did not fit.
        """
        if delegate not in _RESOLVERS:
            raise Refused(
                f"LiteRT {VERSION} here has no {delegate!r} delegate; "
                f"it has {', '.join(sorted(_RESOLVERS))}"
            )
        try:
            self._interpreter = Interpreter(
                model_path=path,
                num_threads=threads,
                experimental_op_resolver_type=_RESOLVERS[delegate],
            )
            self._interpreter.allocate_tensors()
        except FAILURES as error:
            raise runtime_failure(error) from error
        self._unit = delegate.upper()
        self._inputs, self._outputs = self._named_tensors()
        if delegate != "none" and all(each.unit == _BUILTIN for each in self.placements()):
            raise Refused(f"{self._unit} took none of the model's operators")

    def inputs(self) -> list[Tensor]:
        """See ``model.Model``; a quantised tensor is declared as the float32 it stands for."""
        return [
            Tensor(
                name,
                "float32" if _scale(each) else np.dtype(each["dtype"]).name,
                tuple(map(int, each["shape_signature"])) or tuple(map(int, each["shape"])),
            )
            for name, each in self._inputs.items()
        ]

    def bind(self, arrays: "Arrays") -> Callable[[], object]:
        """See ``model.Model``; state that an earlier inference left is cleared."""
        interpreter = self._interpreter
        try:
            shapes = {name: self._inputs[name]["shape"] for name in arrays}
            if any(arrays[name].shape != tuple(shapes[name]) for name in arrays):
                for name, array in arrays.items():
                    interpreter.resize_tensor_input(self._inputs[name]["index"], array.shape)
                interpreter.allocate_tensors()
                self._inputs, self._outputs = self._named_tensors()
            interpreter.reset_all_variables()
            for name, array in arrays.items():
                details = self._inputs[name]
                interpreter.set_tensor(details["index"], _quantised(array, details))
        except FAILURES as error:
            raise BadInputs(f"LiteRT cannot set the inputs: {error}") from error
        invoke: Callable[[], object] = interpreter.invoke
        return invoke

    def outputs(self) -> "dict[str, Array]":
        """See ``model.Model``; quantised outputs come as the real numbers they stand for."""
        return {
            name: _real(self._interpreter.get_tensor(details["index"]), details)
            for name, details in self._outputs.items()
        }

    def placements(self) -> list[Placed]:
        """See ``model.Model``; read off the node list that LiteRT itself gives.

        Nodes that a delegate replaced stay listed beside the delegate's. Those are the ones found
        by walking back from the delegate node's outputs as far as its inputs.
        """
        # LiteRT offers no public call for this.
        nodes = self._interpreter._get_ops_details()
        real = [each for each in nodes if each["op_name"] != _DELEGATE_NODE]
        maker = {int(tensor): each["index"] for each in real for tensor in each["outputs"]}
        inputs_of = {each["index"]: [int(tensor) for tensor in each["inputs"]] for each in real}
        taken: set[int] = set()
        for delegate in (each for each in nodes if each["op_name"] == _DELEGATE_NODE):
            given = {int(tensor) for tensor in delegate["inputs"]}
            queue = [int(tensor) for tensor in delegate["outputs"]]
            while queue:
                tensor = queue.pop()
                node = maker.get(tensor)
                if tensor not in given and node is not None and node not in taken:
                    taken.add(node)
                    queue += inputs_of[node]
        counts = (Placed(self._unit, len(taken)), Placed(_BUILTIN, len(real) - len(taken)))
        return [each for each in counts if each.nodes]

    def _named_tensors(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Tensor details by the signature's names, or by tensor names where there is none."""
        interpreter = self._interpreter
        inputs = {each["index"]: each for each in interpreter.get_input_details()}
        outputs = {each["index"]: each for each in interpreter.get_output_details()}
        for key in interpreter.get_signature_list():
            runner = interpreter.get_signature_runner(key)
            named_inputs = runner.get_input_details()
            named_outputs = runner.get_output_details()
            # Only a signature of the main graph is what invoke() executes.
            if {each["index"] for each in named_inputs.values()} == inputs.keys():
                return (
                    {name: inputs[each["index"]] for name, each in named_inputs.items()},
                    {name: outputs[each["index"]] for name, each in named_outputs.items()},
                )
        return (
            {each["name"]: each for each in inputs.values()},
            {each["name"]: each for each in outputs.values()},
        )


def _scale(details: Any) -> float:
    """The scale of a quantised integer tensor, 0 for any other."""
    return float(details["quantization"][0])


def _quantised(array: "Array", details: Any) -> "Array":
    scale, zero = details["quantization"]
    if not scale:
        return array
    limits = np.iinfo(details["dtype"])
    whole = np.clip(np.rint(array / scale) + zero, limits.min, limits.max)
    return np.asarray(whole, details["dtype"])


def _real(array: "Array", details: Any) -> "Array":
    scale, zero = details["quantization"]
    if not scale:
        return array
    return np.asarray((array.astype(np.float32) - zero) * scale)
