"""ONNX Runtime's ``onnxruntime_perf_test``.

https://github.com/microsoft/onnxruntime: onnxruntime/test/perftest. It writes the time of every run
to its result file, which is made to be its standard output: opened anew at the end of it, when all
else is written. Those are raw samples, of six digits.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from distillfarm.agent.protocols import Exit, LaunchFailure, Prepared, ToolRan
from distillfarm.agent.runners.endings import early_end
from distillfarm.agent.runners.tools.tool import split
from distillfarm.domain.errors import InvalidRequest, MissingExtra
from distillfarm.domain.hardware import ComputeUnit, Runtime, Target
from distillfarm.domain.job import MeasureSpec
from distillfarm.domain.measurement import Outcome, Reported, ToolRun
from distillfarm.sandbox.text import one_line

_RESULT_FILE = "/proc/self/fd/1"
_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "nnapi": "NnapiExecutionProvider",
    "qnn": "QNNExecutionProvider",
}
_OPTIONS = {"qnn": ("-i", "backend_type|htp")}
# With it a session fails whose operators would partly go to the CPU.
_NO_FALLBACK = ("-C", "session.disable_cpu_ep_fallback|1")
_NUMBER = r"[\d.]+(?:e[+-]?\d+)?"
_FIGURE = re.compile(
    r"^(Session creation time cost|First inference time cost|Total inference time cost|"
    r"Total inference requests|Average inference time cost(?: total)?|Total inference run time|"
    r"Number of inferences per second|Avg CPU usage|Peak working set size|Total time cost|"
    rf"Total iterations|Average time cost|\w+ Latency): ?({_NUMBER}) *(s|ms|%|bytes)?\s*$"
)
_RUN = re.compile(rf"^[^,]*,({_NUMBER}),\d+,-?\d+,(\d+)$")
_UNKNOWN = re.compile(r"Unknown command line flag|See 'onnxruntime_perf_test --help'")
_NO_MEMORY = re.compile(r"bad_alloc|bad allocation|Failed to allocate memory")


class PerfTest:
    """See ``tool.Tool``."""

    name = "onnxruntime_perf_test"
    runtime = Runtime.ONNXRUNTIME
    suffix = ".onnx"
    environment: Mapping[str, str] = {"ORT_DISABLE_TELEMETRY": "1"}

    def arguments(self, spec: MeasureSpec, target: Target, prepared: Prepared) -> list[str]:
        """See ``tool.Tool``; it has no limit of time beside its number of runs."""
        if target.delegate not in _PROVIDERS:
            raise InvalidRequest(
                f"{self.name} is not known to have an execution provider {target.delegate!r} on "
                f"phones; it has {', '.join(_PROVIDERS)}"
            )
        return [
            "-e",
            target.delegate,
            *_OPTIONS.get(target.delegate, ()),
            *(() if target.unit is ComputeUnit.CPU else _NO_FALLBACK),
            "-m",
            "times",
            "-r",
            str(spec.max_warmup + spec.iterations),
            "-x",
            str(spec.threads),
            "-y",
            "1",
            # Inputs are made up; without it they would have to lie beside the model.
            "-I",
            prepared.model,
            _RESULT_FILE,
        ]

    def parse(
        self, lines: Sequence[str], ended: Exit, spec: MeasureSpec, target: Target
    ) -> ToolRan | LaunchFailure:
        """See ``tool.Tool``."""
        reported = tuple(_reported(lines))
        told = {each.name: each.value for each in reported}
        stage = "after its inferences" if told else "while loading the model or in its inferences"
        early = early_end(ended, spec.launch_timeout_s, stage)
        if early is not None:
            return early
        if ended.code != 0:
            return self._failure(lines, ended)
        if not told:
            raise MissingExtra(
                f"this {self.name} ended well and told no figures; get another build"
            )
        runs = [match for line in lines if (match := _RUN.match(line))]
        whole = [int(match[2]) for match in runs] == list(range(len(runs)))
        samples_ns = [round(float(match[1]) * 1e9) for match in runs] if whole else []
        warmup_ns, sampled_ns = split(samples_ns, spec)
        session_s = told.get("Session creation time cost")
        alone = target.delegate == "cpu" or target.unit is not ComputeUnit.CPU
        return ToolRan(
            ToolRun(
                tool=self.name,
                reported=reported,
                load_ns=None if session_s is None else round(session_s * 1e9),
                warmup_ns=warmup_ns,
                samples_ns=sampled_ns,
                all_on=_PROVIDERS[target.delegate] if alone else "",
            )
        )

    def _failure(self, lines: Sequence[str], ended: Exit) -> LaunchFailure:
        words = [line.strip() for line in lines if line.strip()]
        if any(_UNKNOWN.search(line) for line in words):
            raise MissingExtra(
                f"this {self.name} does not know what it was asked: {one_line(words[-1], 200)}; "
                "get a newer build"
            )
        reason = words[-1] if words else f"left with exit code {ended.code} and no reason"
        lacking = any(_NO_MEMORY.search(line) for line in words)
        return LaunchFailure(
            Outcome.OUT_OF_MEMORY if lacking else Outcome.REFUSED, one_line(reason)
        )


def _reported(lines: Sequence[str]) -> Iterator[Reported]:
    seen: set[str] = set()
    for line in lines:
        match = _FIGURE.match(line.strip())
        # Some stand twice, the second time without their unit.
        if match and match[1] not in seen:
            seen.add(match[1])
            yield Reported(match[1], float(match[2]), match[3] or "")
