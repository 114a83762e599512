"""What Instruments show of apps on a stand-in iPhone: their start, words, use, end and crash."""

import asyncio
import json
import logging
import re
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from iphone_fixtures import PROBE, probe_package, services
from iphone_phone import Phone, Thermal
from pymobiledevice3.dtx import DTXNsError
from pymobiledevice3.remote.core_device.app_service import AppServiceService
from pymobiledevice3.services.crash_reports import CrashReportsManager
from pymobiledevice3.services.dvt.instruments.condition_inducer import ConditionInducer
from pymobiledevice3.services.dvt.instruments.device_info import DeviceInfo
from pymobiledevice3.services.dvt.instruments.dvt_provider import DvtProvider
from pymobiledevice3.services.dvt.instruments.energy_monitor import EnergyMonitor
from pymobiledevice3.services.dvt.instruments.process_control import ProcessControl
from pymobiledevice3.services.dvt.instruments.sysmontap import Sysmontap
from pymobiledevice3.services.installation_proxy import InstallationProxyService
from pymobiledevice3.services.os_trace import OsTraceService

_WAIT_S = 10.0


class Bench:
    """A phone with the probe installed, and what is needed to run that."""

    def __init__(self, provider: Any, dvt: Any, control: Any, phone: Phone) -> None:
        self.provider, self.dvt, self.control, self.phone = provider, dvt, control, phone

    async def launch(self, *arguments: str, **options: Any) -> int:
        """Start the probe."""
        pid: int = await self.control.launch(PROBE, arguments=list(arguments), **options)
        return pid

    async def said(self, until: str) -> str:
        """What is printed until a line begins with this."""
        lines: list[str] = []
        async with asyncio.timeout(_WAIT_S), aclosing(aiter(self.control)) as events:
            async for event in events:
                lines.append(event.message)
                if event.message.startswith(until):
                    break
        return "".join(lines)

    async def ended(self, caplog: pytest.LogCaptureFixture, pid: int) -> tuple[str, str]:
        """How a process ended: its exit code and the signal that it crashed by."""
        words = re.compile(rf"PID {pid} terminated with exit code (\S+) or crashing signal (\S+)")
        async with asyncio.timeout(_WAIT_S):
            # Its client writes it into its own log, and tells nobody.
            while not (found := words.search(caplog.text)):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return found[1], found[2]


@asynccontextmanager
async def bench(phone: Phone, package: Path) -> AsyncIterator[Bench]:
    async with services(phone) as provider:
        async with InstallationProxyService(provider) as apps:
            await apps.install_from_local(package, developer=True)
        async with DvtProvider(provider) as dvt, ProcessControl(dvt) as control:
            yield Bench(provider, dvt, control, phone)


async def test_an_app_starts_with_its_arguments_speaks_and_ends(
    iphone: Phone, probe: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    iphone.change(thermal=Thermal.SERIOUS, low_power_mode=True)
    async with bench(iphone, probe) as on:
        pid = await on.launch("exit", "7", environment={"WORD": "hello"})
        said = await on.said("conditions")
        assert said.startswith("arguments: exit 7\nword: hello\n")
        assert json.loads(said.rpartition("conditions: ")[2]) == {
            "thermal": "serious",
            "low_power_mode": True,
        }
        assert await on.ended(caplog, pid) == ("7", "None")
        pid = await on.launch("write")
        assert await on.ended(caplog, pid) == ("0", "None")
    assert (iphone.container(PROBE) / "Documents/made.txt").read_text() == "made\n"


async def test_a_process_is_listed_while_it_runs_and_gone_when_it_is_killed(
    iphone: Phone, probe: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with bench(iphone, probe) as on, DeviceInfo(on.dvt) as information:
        pid = await on.launch("wait")
        listed = {each["pid"]: each for each in await information.proclist()}
        assert listed[pid]["bundleIdentifier"] == PROBE
        assert await on.control.process_identifier_for_bundle_identifier(PROBE) == pid
        # A second launch ends the first.
        second = await on.launch("wait")
        assert not await information.is_running_pid(pid)
        await on.control.kill(second)
        assert not await information.is_running_pid(second)
        assert await on.ended(caplog, second) == ("None", str(int(signal.SIGKILL)))
        assert [each["name"] for each in await information.proclist()] == ["launchd"]


async def test_a_suspended_app_waits_until_it_is_resumed(
    old_iphone: Phone, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with bench(old_iphone, probe_package(old_iphone, tmp_path)) as on:
        pid = await on.launch("write", start_suspended=True)
        await asyncio.sleep(0.3)
        assert "terminated" not in caplog.text
        await on.control.resume(pid)
        assert await on.ended(caplog, pid) == ("0", "None")


async def test_memory_and_cpu_are_those_of_the_process(iphone: Phone, probe: Path) -> None:
    async with bench(iphone, probe) as on:
        pid = await on.launch("burn")
        used = []
        async with (
            asyncio.timeout(_WAIT_S),
            await Sysmontap.create(on.dvt, interval=100) as tap,
            aclosing(tap.iter_processes()) as samples,
        ):
            async for rows in samples:
                used += [row for row in rows if row["pid"] == pid]
                if len(used) == 6:
                    break
        here = next(
            each
            for each in psutil.Process(iphone.pid).children(recursive=True)
            if "burn" in each.cmdline()
        )
        assert used[0]["cpuUsage"] == 0
        # Others want this computer's cores, too.
        assert 2 < max(row["cpuUsage"] for row in used) < 130
        assert 0 < used[-1]["physFootprint"] <= here.memory_info().rss


async def test_energy_is_a_score_that_follows_the_cpu(old_iphone: Phone, tmp_path: Path) -> None:
    async def score(on: Bench, *arguments: str) -> float:
        pid = await on.launch(*arguments)
        scores: list[float] = []
        async with (
            asyncio.timeout(_WAIT_S),
            EnergyMonitor(on.dvt, [pid]) as monitor,
            aclosing(aiter(monitor)) as samples,
        ):
            async for sample in samples:
                scores.append(sample[pid]["energy.cost"])
                if len(scores) == 4:
                    break
        return max(scores)

    async with bench(old_iphone, probe_package(old_iphone, tmp_path)) as on:
        assert await score(on, "wait") < await score(on, "burn")


async def test_an_induced_condition_reaches_the_app(iphone: Phone, probe: Path) -> None:
    async with bench(iphone, probe) as on, ConditionInducer(on.dvt) as inducer:
        await inducer.set("ThermalCritical")
        assert (await inducer.list())[0]["isActive"]
        await on.launch()
        assert '"critical"' in await on.said("conditions")
        await inducer.clear()
        assert not (await inducer.list())[0]["isActive"]


async def test_what_is_not_installed_is_not_launched(iphone: Phone, probe: Path) -> None:
    async with bench(iphone, probe) as on:
        with pytest.raises(DTXNsError, match="is not installed"):
            await on.control.launch("org.example.none")


async def test_a_crash_leaves_a_report_and_a_line_in_the_log(
    iphone: Phone, probe: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with bench(iphone, probe) as on, asyncio.timeout(_WAIT_S):
        entries = OsTraceService(on.provider).syslog()
        logged = asyncio.create_task(_until_saved(entries))
        # It hears what is said from now on.
        await asyncio.sleep(0.5)
        pid = await on.launch("crash")
        assert await on.ended(caplog, pid) == ("None", str(int(signal.SIGSEGV)))
        lines = await logged
        assert (pid, "arguments: crash") in lines
        async with CrashReportsManager(on.provider) as crashes:
            await crashes.flush()
            (report,) = await crashes.parse_latest(match=["^Runner"])
            assert (report.name, report.exception_type) == ("Runner", "EXC_BAD_ACCESS")
            assert str(report.bug_type.value) == "309"
            await crashes.clear()
            assert await crashes.ls() == []


async def _until_saved(entries: Any) -> list[tuple[int, str]]:
    lines = []
    async with aclosing(entries):
        async for entry in entries:
            lines.append((entry.pid, entry.message))
            if entry.message.startswith("Saved type '309'"):
                break
    return lines


async def test_the_tunnel_has_a_service_for_apps_too(new_iphone: Phone, tmp_path: Path) -> None:
    async with bench(new_iphone, probe_package(new_iphone, tmp_path)) as on:
        async with AppServiceService(on.provider) as service:
            started = await service.launch_application(PROBE, ["wait"])
            pid = int(started["processToken"]["processIdentifier"])
            assert [each["processIdentifier"] for each in await service.list_processes()] == [pid]
        async with DeviceInfo(on.dvt) as information:
            assert await information.is_running_pid(pid)


async def test_the_tunnel_tells_what_the_phone_is(new_iphone: Phone) -> None:
    async with services(new_iphone) as tunnel:
        assert tunnel.udid == new_iphone.udid
        assert tunnel.product_version == new_iphone.identity.system.version
        assert await tunnel.get_value(key="ProductType") == "iPhone16,1"
        assert "com.apple.instruments.dtservicehub" in tunnel.peer_info["Services"]
