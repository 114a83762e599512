"""Runs artifacts by a maker's own tool, one fresh process a launch."""

from collections import deque
from collections.abc import Mapping
from pathlib import Path

from distillfarm.agent.protocols import DeviceDriver, LaunchFailure, Prepared, ToolRan
from distillfarm.agent.runners.tools.benchmark_model import BenchmarkModel
from distillfarm.agent.runners.tools.executor_runner import ExecutorRunner
from distillfarm.agent.runners.tools.perf_test import PerfTest
from distillfarm.agent.runners.tools.tool import Tool
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import DeviceInfo, Runtime, Target
from distillfarm.domain.job import ColdStart, JobRequest

_TOOLS: tuple[Tool, ...] = (BenchmarkModel(), PerfTest(), ExecutorRunner())
# ExecuTorch's library is linked into programs: no runner of ours can open it.
_ONLY_BY_TOOL = {Runtime.EXECUTORCH: "executor_runner"}
# Of an output without end the last lines are kept, for there the figures stand.
_MOST_LINES = 20_000


class ToolRunner:
    """A ``protocols.Runner`` around one tool.

    The driver gives its standard error with its standard output, or the tail of it at the end.
    """

    def __init__(self, tool: Tool) -> None:
        self.tool = tool

    def refusal(self, info: DeviceInfo, target: Target) -> str | None:
        """What the probe found out where it tried this target; else the tool itself will tell."""
        for support in info.runtimes:
            if support.target == target:
                return support.refusal or None
        return None

    async def prepare(
        self, driver: DeviceDriver, request: JobRequest, files: Mapping[str, Path]
    ) -> Prepared:
        """Push the model.

        Raises:
            InvalidRequest: fixed arrays or a colder start are asked for, which no tool knows.
        """
        spec = request.spec
        if spec.inputs_digest or spec.expected_digest:
            raise InvalidRequest(
                f"{self.tool.name} makes up its inputs and compares no outputs; "
                "leave out the fixed arrays, or the tool"
            )
        if spec.cold_start is not ColdStart.NEW_PROCESS:
            raise InvalidRequest(
                f"{self.tool.name} cannot start as cold as {spec.cold_start.value}; "
                "leave out the kind of cold start, or the tool"
            )
        model = files[request.artifact.digest]
        return Prepared(await driver.push(model, f"model{self.tool.suffix}"))

    async def launch(
        self, driver: DeviceDriver, request: JobRequest, prepared: Prepared
    ) -> ToolRan | LaunchFailure:
        """Run the tool once and judge what it said."""
        tool, spec, target = self.tool, request.spec, request.target
        arguments = tool.arguments(spec, target, prepared)
        run = await driver.launch(tool.name, arguments, tool.environment, spec.launch_timeout_s)
        lines: deque[str] = deque(maxlen=_MOST_LINES)
        try:
            async for line in run.lines():
                lines.append(line)
            ended = await run.wait()
        finally:
            await run.kill()
        return tool.parse([*lines, *ended.stderr_tail.splitlines()], ended, spec, target)

    async def clean(self, driver: DeviceDriver, prepared: Prepared) -> None:
        """Nothing: what was pushed is the driver's content-addressed cache."""
        del driver, prepared


def tool_runner(runtime: Runtime, name: str) -> ToolRunner | None:
    """The runner by the named tool, or by the only way to run ``runtime``; None for neither.

    Raises:
        InvalidRequest: no such tool, or one of another runtime.
    """
    name = name or _ONLY_BY_TOOL.get(runtime, "")
    if not name:
        return None
    found = next((tool for tool in _TOOLS if tool.name == name), None)
    if found is None:
        known = ", ".join(f"{tool.name} ({tool.runtime.value})" for tool in _TOOLS)
        raise InvalidRequest(f"no tool {name!r}; there are {known}")
    if found.runtime is not runtime:
        raise InvalidRequest(
            f"{name} is of {found.runtime.value} and cannot run artifacts of {runtime.value}"
        )
    return ToolRunner(found)
