"""The drivers and runners that are installed, found by their entry points."""

from importlib.metadata import entry_points
from typing import cast

from distillfarm.agent.protocols import DeviceSource, Runner
from distillfarm.agent.runners.tools.runner import tool_runner
from distillfarm.agent.settings import AgentSettings
from distillfarm.domain.errors import MissingExtra
from distillfarm.domain.hardware import Runtime


def device_sources(settings: AgentSettings) -> list[DeviceSource]:
    """Every installed kind of device."""
    return [
        cast(DeviceSource, each.load()(settings))
        for each in entry_points(group="distillfarm.drivers")
    ]


def runner(runtime: Runtime, tool: str = "") -> Runner:
    """The runner of a runtime: ours, or the maker's own ``tool`` where one is named.

    Raises:
        MissingExtra: none is installed.
        InvalidRequest: there is no such tool, or it belongs to another runtime.
    """
    by_tool = tool_runner(runtime, tool)
    if by_tool is not None:
        return by_tool
    installed = {each.name: each for each in entry_points(group="distillfarm.runners")}
    if runtime.value not in installed:
        raise MissingExtra(
            f"this agent has no runner for {runtime.value}, only {', '.join(sorted(installed))}; "
            "install the plug-in that brings one"
        )
    return cast(Runner, installed[runtime.value].load()())
