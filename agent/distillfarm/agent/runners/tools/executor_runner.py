"""ExecuTorch's ``executor_runner``.

https://github.com/pytorch/executorch: examples/portable/executor_runner. Newer ones (2026) log the
time of every execution, which are raw samples; those before, the sum alone, and the first nothing
but that it ran. A build for Android may write to Android's log, where nobody listens.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from distillfarm.agent.protocols import Exit, LaunchFailure, Prepared, ToolRan
from distillfarm.agent.runners.endings import early_end
from distillfarm.agent.runners.tools.tool import split
from distillfarm.domain.errors import MissingExtra
from distillfarm.domain.hardware import Runtime, Target
from distillfarm.domain.job import MeasureSpec
from distillfarm.domain.measurement import Outcome, Reported, ToolRun
from distillfarm.sandbox.text import one_line

# Info, debug, error and fatal; the message follows the place in the source.
_LOG = re.compile(r"^([DIEF]) \d\d:\d\d:\d\d\.\d+ executorch:[^\]]*\] (.*)$")
_NUMBER = r"\d+(?:\.\d+)?"
_LOADED = re.compile(rf"^Model loaded in ({_NUMBER}) ms\.")
_ITERATION = re.compile(rf"^Iteration (\d+) of (\d+): ({_NUMBER}) ms")
_EXECUTED = re.compile(rf"^Model executed successfully (\d+) time\(s\) in ({_NUMBER}) ms\.")
_RAN = "Model executed successfully"
_UNKNOWN = re.compile(r"unknown command line flag '(\w+)'")
# Error::MemoryAllocationFailed of runtime/core/error.h.
_NO_MEMORY = re.compile(r"\b0x21\b|MemoryAllocationFailed|Memory allocation failed")
_ASSERTED = re.compile(r"^In function .*?, assert failed \(.*?\): (?=\S)")


class ExecutorRunner:
    """See ``tool.Tool``."""

    name = "executor_runner"
    runtime = Runtime.EXECUTORCH
    suffix = ".pte"
    environment: Mapping[str, str] = {}

    def arguments(self, spec: MeasureSpec, target: Target, prepared: Prepared) -> list[str]:
        """See ``tool.Tool``; the delegate is in the model, and there is no limit of time."""
        del target
        return [
            f"--model_path={prepared.model}",
            f"--cpu_threads={spec.threads}",
            f"--num_executions={1 + spec.max_warmup + spec.iterations}",
        ]

    def parse(
        self, lines: Sequence[str], ended: Exit, spec: MeasureSpec, target: Target
    ) -> ToolRan | LaunchFailure:
        """See ``tool.Tool``."""
        del target
        said = [(match[1], match[2]) for line in lines if (match := _LOG.match(line.strip()))]
        self._require_newer(lines)
        failed = [message for level, message in said if level in "EF"]
        loaded = next((match for _, message in said if (match := _LOADED.match(message))), None)
        # A failed check logs what was wrong and then ends by SIGABRT.
        if failed and ended.code != 0 and not ended.timed_out:
            return _refused(failed)
        stage = "while loading the model" if loaded is None else "in its executions"
        early = early_end(ended, spec.launch_timeout_s, stage)
        if early is not None:
            return early
        if ended.code != 0:
            return LaunchFailure(Outcome.CRASHED, f"left with exit code {ended.code}, {stage}")
        reported = tuple(_reported(message for _, message in said))
        if not any(each.name == _RAN for each in reported):
            raise MissingExtra(
                f"this {self.name} told no times: an older one, or it writes to Android's log; "
                "build a newer one with -DEXECUTORCH_PAL_DEFAULT=posix"
            )
        samples_ns = _samples_ns([message for _, message in said])
        warmup_ns, sampled_ns = split(samples_ns[1:], spec)
        return ToolRan(
            ToolRun(
                tool=self.name,
                reported=reported,
                load_ns=None if loaded is None else round(float(loaded[1]) * 1e6),
                first_inference_ns=samples_ns[0] if samples_ns else None,
                warmup_ns=warmup_ns,
                samples_ns=sampled_ns,
            )
        )

    def _require_newer(self, lines: Sequence[str]) -> None:
        unknown = next((match[1] for line in lines if (match := _UNKNOWN.search(line))), None)
        if unknown is not None:
            raise MissingExtra(f"this {self.name} has no --{unknown}; get a newer build")


def _refused(failed: Sequence[str]) -> LaunchFailure:
    lacking = any(_NO_MEMORY.search(message) for message in failed)
    reason = _ASSERTED.sub("", failed[-1])
    return LaunchFailure(Outcome.OUT_OF_MEMORY if lacking else Outcome.REFUSED, one_line(reason))


def _samples_ns(messages: Sequence[str]) -> list[int]:
    """The time of every execution; none unless all are there."""
    found = [match for message in messages if (match := _ITERATION.match(message))]
    numbers = [int(match[1]) for match in found]
    if not found or numbers != list(range(1, int(found[0][2]) + 1)):
        return []
    return [round(float(match[3]) * 1e6) for match in found]


def _reported(messages: Iterator[str]) -> Iterator[Reported]:
    for message in messages:
        if match := _LOADED.match(message):
            yield Reported("Model loaded", float(match[1]), "ms")
        elif match := _EXECUTED.match(message):
            yield Reported("executions", float(match[1]), "")
            yield Reported(_RAN, float(match[2]), "ms")
