"""LiteRT's ``benchmark_model``, of TensorFlow Lite (1) and of LiteRT's own interface (2).

https://github.com/google-ai-edge/LiteRT: tflite/tools/benchmark and
litert/tools/benchmark_litert_model.h. It keeps no raw samples. Both generations are called with the
same words: an unknown one is warned of and ignored.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from distillfarm.agent.protocols import Exit, LaunchFailure, Prepared, ToolRan
from distillfarm.agent.runners.endings import early_end
from distillfarm.domain.errors import InvalidRequest, MissingExtra
from distillfarm.domain.hardware import ComputeUnit, Runtime, Target
from distillfarm.domain.job import MeasureSpec
from distillfarm.domain.measurement import Outcome, Placement, Reported, ToolRun
from distillfarm.sandbox.text import one_line

# Without --use_cpu=false the second generation puts what is left on the CPU, and ends itself when
# it is to require full delegation as well.
_ACCELERATED = ("--use_cpu=false", "--use_xnnpack=false", "--require_full_delegation=true")
_DELEGATES = {
    "xnnpack": ("--use_xnnpack=true",),
    "none": ("--use_xnnpack=false",),
    "gpu": ("--use_gpu=true", *_ACCELERATED),
    "nnapi": ("--use_nnapi=true", "--disable_nnapi_cpu=true", *_ACCELERATED),
    "npu": ("--use_npu=true", *_ACCELERATED),
}
_BUILTIN = "BUILTIN"
_NUMBER = r"[\d.]+(?:e[+-]?\d+)?"
_COUNT = re.compile(rf"count=(\d+) (first={_NUMBER} .*)$")
_WORD = re.compile(rf"(\w+)=({_NUMBER})")
_READY = re.compile(rf"Initialized session in ({_NUMBER})ms")
_REPLACED = re.compile(
    r"Replacing (\d+) out of (\d+) node\(s\) with delegate \(([^)]*)\)"
    r"(?:.*for (?:subgraph (\d+)|the whole graph))?"
)
_SUMMARY = re.compile(r"(?:Average inference|Inference) timings in us: (.*)$")
_SUMMARY_PART = re.compile(rf"([A-Z][\w ]*(?:\(\w+\))?): ({_NUMBER})")
_BLOCK = re.compile(
    r"(Model initialization|Warmup \(\w+\)|Inference \(\w+\)|Throughput|Init footprint|"
    rf"Overall footprint|Peak memory): +({_NUMBER}) ?(ms|MB/s|MB)?"
)
_FOOTPRINT = re.compile(rf"Memory footprint delta .*init=({_NUMBER}) overall=({_NUMBER})")
_PEAK = re.compile(rf"Overall peak memory footprint \(MB\) via periodic monitoring: ({_NUMBER})")
_ERROR = re.compile(r"ERROR: (.*\S)|\b(Disallowed CPU fallback detected\.)")
_SILENT = "will not be executed by the delegate"


class BenchmarkModel:
    """See ``tool.Tool``."""

    name = "benchmark_model"
    runtime = Runtime.LITERT
    suffix = ".tflite"
    environment: Mapping[str, str] = {}

    def arguments(self, spec: MeasureSpec, target: Target, prepared: Prepared) -> list[str]:
        """See ``tool.Tool``; warm-up is a fixed number of runs, for it knows no other."""
        if target.delegate not in _DELEGATES:
            raise InvalidRequest(
                f"{self.name} has no delegate {target.delegate!r}; it has {', '.join(_DELEGATES)}"
            )
        return [
            f"--graph={prepared.model}",
            f"--num_threads={spec.threads}",
            f"--warmup_runs={max(1, spec.max_warmup)}",
            "--warmup_min_secs=0",
            f"--num_runs={spec.iterations}",
            "--min_secs=0",
            f"--max_secs={spec.max_sampling_s:g}",
            *_DELEGATES[target.delegate],
        ]

    def parse(
        self, lines: Sequence[str], ended: Exit, spec: MeasureSpec, target: Target
    ) -> ToolRan | LaunchFailure:
        """See ``tool.Tool``; a run that fell back to the CPU is refused, whatever it took."""
        refusal = _fell_back(lines, target)
        if refusal:
            return LaunchFailure(Outcome.REFUSED, refusal)
        blocks = [match for line in lines if (match := _COUNT.search(line))]
        reported = tuple(_reported(lines))
        early = early_end(ended, spec.launch_timeout_s, _stage(lines, len(blocks)))
        if early is not None:
            return early
        errors = [match[1] or match[2] for line in lines if (match := _ERROR.search(line))]
        if ended.code != 0:
            words = "; ".join(errors) or f"left with exit code {ended.code} and no reason"
            return LaunchFailure(Outcome.REFUSED, one_line(words))
        if not reported:
            raise MissingExtra(
                f"this {self.name} ended well and told no figures; get another build"
            )
        ready_ms = next((match[1] for line in lines if (match := _READY.search(line))), None)
        first_us = _stats(blocks[0][2])["first"] if len(blocks) > 1 else None
        return ToolRan(
            ToolRun(
                tool=self.name,
                reported=reported,
                load_ns=None if ready_ms is None else round(float(ready_ms) * 1e6),
                first_inference_ns=None if first_us is None else round(first_us * 1e3),
                placements=_placements(lines),
            )
        )


def _fell_back(lines: Sequence[str], target: Target) -> str:
    """Why this did not run where it should; empty where it did, or where it never came so far."""
    if any(_SILENT in line for line in lines):
        return f"{target.delegate} took none of the model's operators; the tool went on on the CPU"
    ran = any(_COUNT.search(line) for line in lines)
    if target.unit is ComputeUnit.CPU or not ran:
        return ""
    placements = _placements(lines)
    left = sum(each.nodes for each in placements if each.unit == _BUILTIN)
    if left:
        return f"{left} of {sum(each.nodes for each in placements)} operators stayed on the CPU"
    if not placements and not any("completely executed by the delegate" in line for line in lines):
        return f"the tool does not tell that {target.delegate} took any operator"
    return ""


def _placements(lines: Sequence[str]) -> tuple[Placement, ...]:
    """Every replacement, and what the only one of a subgraph left to the built-in kernels."""
    taken: Counter[str] = Counter()
    subgraphs: dict[str, list[int]] = {}
    for line in lines:
        if match := _REPLACED.search(line):
            nodes, total, delegate, subgraph = match.groups()
            taken[delegate] += int(nodes)
            subgraphs.setdefault(subgraph or "0", []).append(int(total) - int(nodes))
    if subgraphs and all(len(left) == 1 for left in subgraphs.values()):
        taken[_BUILTIN] += sum(left[0] for left in subgraphs.values())
    return tuple(Placement(unit, nodes) for unit, nodes in taken.items() if nodes)


def _reported(lines: Sequence[str]) -> Iterator[Reported]:
    blocks = [match for line in lines if (match := _COUNT.search(line))]
    # The first block is the warm-up.
    if len(blocks) > 1:
        yield Reported("inference count", float(blocks[1][1]), "")
        for word, value in _stats(blocks[1][2]).items():
            yield Reported(f"inference {word}", value, "us")
    for line in lines:
        if match := _SUMMARY.search(line):
            for word, value in _SUMMARY_PART.findall(match[1]):
                yield Reported(word, float(value), "us")
        elif match := _FOOTPRINT.search(line):
            yield Reported("Memory footprint init", float(match[1]), "MB")
            yield Reported("Memory footprint overall", float(match[2]), "MB")
        elif match := _PEAK.search(line):
            yield Reported("Overall peak memory footprint", float(match[1]), "MB")
        elif match := _BLOCK.search(line):
            yield Reported(match[1], float(match[2]), match[3] or "ms")


def _stats(words: str) -> dict[str, float]:
    return {word: float(value) for word, value in _WORD.findall(words)}


def _stage(lines: Sequence[str], blocks: int) -> str:
    if blocks:
        return "in the timed inferences"
    ready = any(_READY.search(line) for line in lines)
    return "in the first inferences" if ready else "while loading the model"
