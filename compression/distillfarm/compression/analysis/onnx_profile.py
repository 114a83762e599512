"""Times an ONNX model in ONNX Runtime's own profile and gives each kernel's time to its layer.

The runtime fuses, reorders and renames nodes when it loads a model, so its names are traced back:
by the node's name within the kernel's, else by the tensor that the kernel makes. A fused kernel's
time goes to the member that does its multiply-accumulates.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer

import msgspec
import numpy as np
import onnx
import onnxruntime
from onnx import GraphProto, NodeProto
from onnxruntime.capi import onnxruntime_pybind11_state as failures

from distillfarm.compression.analysis.layers import sample_shape
from distillfarm.compression.analysis.onnx import subgraphs
from distillfarm.compression.analysis.profile import Runs, Timed, middle, timed_runs
from distillfarm.compression.protocols import WorkingModel
from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.model import Signature

_KERNEL = "_kernel_time"
_BLOCKED = "_nchwc"
_FUSED = "fused "
# What the runtime adds to a name that is taken.
_UNIQUE = re.compile(r"_token_\d+$")
_ERRORS_ONLY = 3
_WARM_UP = 3
_PATIENCE_S = 20.0
_FAILURES = (failures.Fail, failures.InvalidArgument, failures.RuntimeException)
# Their time is that of the nodes inside them.
_OUTER = frozenset({"If", "Loop", "Scan", "SequenceMap"})
_HEAVY = frozenset({
    "Conv", "ConvInteger", "ConvTranspose", "Einsum", "FusedConv", "FusedMatMul", "GRU", "Gemm",
    "LSTM", "MatMul", "MatMulInteger", "MatMulNBits", "QLinearConv", "QLinearMatMul", "RNN",
})  # fmt: skip


class _Arguments(msgspec.Struct):
    op_name: str = ""


class Event(msgspec.Struct):
    """One entry of the profile: what is read of it."""

    cat: str
    name: str
    ts: int = 0
    dur: int = 0
    args: _Arguments = msgspec.field(default_factory=_Arguments)


def times(model: WorkingModel, signature: Signature, runs: Runs) -> Timed:
    """Microseconds by layer for one batch.

    Raises:
        ModelRejected: ONNX Runtime cannot run it on zeros.
    """
    inputs = {
        each.name: np.zeros(sample_shape(each.shape), each.dtype) for each in signature.inputs
    }
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        named = folder / "named.onnx"
        original = _named(onnx.load_model(model.path, format="protobuf"))
        onnx.save(original, named)
        try:
            with _impatient() as options:
                quiet = _session(named, runs.threads)
                whole_us = timed_runs(lambda: quiet.run(None, inputs, options), runs)
                watched = _session(named, runs.threads, folder)
                for _ in range(_WARM_UP + runs.profiled(len(whole_us))):
                    watched.run(None, inputs, options)
        except _FAILURES as error:
            raise ModelRejected(f"ONNX Runtime cannot run the model on zeros: {error}") from error
        content = Path(watched.end_profiling()).read_bytes()
        optimised = onnx.load(folder / "optimised.onnx")
    trace = Trace(original.graph, optimised.graph)
    samples = [by_layer(run, trace) for run in inferences(content)[_WARM_UP:]]
    found = middle(samples)
    elsewhere_us = found.pop("", 0.0)
    profiler = f"ONNX Runtime {onnxruntime.__version__}'s profile"
    return Timed(found, len(samples), whole_us, profiler, elsewhere_us)


@contextmanager
def _impatient() -> Iterator[onnxruntime.RunOptions]:
    """Options whose runs are ended when the time for all of them is over: a loop may be endless."""
    options = onnxruntime.RunOptions()
    timer = Timer(_PATIENCE_S, lambda: setattr(options, "terminate", True))
    timer.start()
    try:
        yield options
    finally:
        timer.cancel()


def _session(path: Path, threads: int, profile: Path | None = None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = _ERRORS_ONLY
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile / "profile")
        options.optimized_model_filepath = str(profile / "optimised.onnx")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _named(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with functions inlined and nodes named as its layers are counted."""
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    for node in _nodes(model.graph):
        node.name = node.name or next(iter(node.output), "")
    return model


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for body in subgraphs(node):
            yield from _nodes(body)


def inferences(content: bytes) -> list[list[Event]]:
    """The events of every inference."""
    events = msgspec.json.decode(content, type=list[Event])
    inferences = [each for each in events if each.name == "model_run"]
    kernels = [each for each in events if each.cat == "Node" and each.name.endswith(_KERNEL)]
    return [
        [each for each in kernels if run.ts <= each.ts <= run.ts + run.dur] for run in inferences
    ]


def by_layer(run: Sequence[Event], trace: "Trace") -> dict[str, float]:
    """Microseconds by layer; under no name those of kernels that belong to none."""
    found: dict[str, float] = defaultdict(float)
    for each in run:
        if each.args.op_name not in _OUTER:
            found[trace.layer(each.name.removesuffix(_KERNEL), each.args.op_name)] += each.dur
    return dict(found)


class Trace:
    """Finds the layer that a kernel of the optimised graph stands for."""

    def __init__(self, original: GraphProto, optimised: GraphProto) -> None:
        self._names = {node.name for node in _nodes(original)}
        self._makers = {name: node for node in _nodes(original) for name in node.output if name}
        self._made = {node.name: list(node.output) for node in _nodes(optimised)}

    def layer(self, kernel: str, operator: str) -> str:
        """Its name, or an empty one for a kernel of the runtime's own."""
        name = _UNIQUE.sub("", kernel.removeprefix(_FUSED))
        while name:
            if name in self._names:
                return name
            name = name.rpartition("/")[0]
        for tensor in (kernel.removesuffix(_BLOCKED), *self._made.get(kernel, ())):
            if (maker := self._makers.get(tensor)) is not None:
                return str((self._heavy(maker) if operator in _HEAVY else maker).name)
        return ""

    def _heavy(self, node: NodeProto) -> NodeProto:
        """The node that a fused kernel began with: up the first inputs to one that multiplies."""
        seen = node
        while seen.op_type not in _HEAVY:
            above = self._makers.get(seen.input[0]) if seen.input else None
            if above is None:
                return node
            seen = above
        return seen
