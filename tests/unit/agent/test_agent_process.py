"""A whole agent in a process of its own: real jobs, kill -9, a controller that comes and goes."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from launches import GOLDEN, request
from stand_in_controller import TOKEN, StandInController, serving

from distillfarm.agent.main import run
from distillfarm.agent.settings import AgentSettings
from distillfarm.domain.agent import (
    Abandon,
    Ack,
    Assign,
    Heartbeat,
    Hello,
    Inventory,
    JobProgress,
    JobResult,
)
from distillfarm.domain.errors import AlreadyExists
from distillfarm.domain.ids import derived_id
from distillfarm.domain.job import Lease, Rival
from distillfarm.domain.measurement import Outcome, Stop
from distillfarm.wire.blobs import LocalBlobs

pytestmark = pytest.mark.slow

AGENT = """
import asyncio, signal, sys
from distillfarm.agent.main import run
from distillfarm.agent.settings import AgentSettings

async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = AgentSettings(
        controller=sys.argv[1], state_dir=sys.argv[2], token=sys.argv[3], agent_id="agent-1",
        gate_patience_s=0,
    )
    await run(settings, stop=stop)

asyncio.run(main())
"""


class Lab:
    """A stand-in controller's blobs and an agent's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = LocalBlobs(folder / "blobs")
        self.controller = StandInController()

    @contextlib.asynccontextmanager
    async def agent(self, address: str, token: str = "") -> AsyncIterator[psutil.Process]:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", AGENT, address, str(self.folder / "state"), token
        )
        try:
            yield psutil.Process(child.pid)
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.terminate()
            await child.wait()

    def assign(
        self, device_id: str, model: str, token: int = 1, *, rival: str = "", **settings: Any
    ) -> Assign:
        job, files = request(GOLDEN / model, "onnxruntime", **settings)
        if rival:
            other, more = request(GOLDEN / rival, "litert")
            job, files = replace(job, rival=Rival(other.artifact, other.target)), {**files, **more}
        for path in files.values():
            self.blobs.put_file(path)
        order = Assign(Lease(f"job-{token}", device_id, "agent-1", token, 1e10), job)
        self.controller.say.put_nowait(order)
        return order

    async def hello(self) -> tuple[Hello, str]:
        """The agent's greeting, and the id of its device once that was probed."""
        hello = await self.controller.hear(Hello)
        devices = hello.devices
        while not devices:
            devices = (await self.controller.hear(Inventory)).devices
        return hello, derived_id("device", "agent-1", devices[0].serial)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


async def until_gone(*processes: psutil.Process) -> None:
    def gone(each: psutil.Process) -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            return each.status() == psutil.STATUS_ZOMBIE
        return True

    async with asyncio.timeout(10):
        while not all(map(gone, processes)):  # noqa: ASYNC110 - nobody tells of these
            await asyncio.sleep(0.05)


async def launched(agent: psutil.Process) -> list[psutil.Process]:
    """What the agent started, once the launch itself runs."""
    async with asyncio.timeout(20):
        while True:
            found = agent.children(recursive=True)
            if any("distillfarm.agent.program" in " ".join(each.cmdline()) for each in found):
                return found
            await asyncio.sleep(0.05)


async def test_a_real_job_goes_from_assignment_to_acknowledged_result(lab: Lab) -> None:
    async with serving(lab.controller, lab.blobs) as address, lab.agent(address):
        _, device_id = await lab.hello()
        order = lab.assign(device_id, "cnn.onnx")
        progress = await lab.controller.hear(JobProgress)
        assert progress.lease == order.lease
        result = await lab.controller.hear(JobResult)
        assert result.lease == order.lease
        assert result.error == ""
        assert result.measurement.outcome is Outcome.OK
        assert result.measurement.device_id == device_id
        assert len(result.measurement.launches) == 2
        context = {each.name: each.value for each in result.measurement.context}
        assert context["runtime_version"]
        assert context["before.load_average_1min"]
        assert context["launches_not_stationary"] in ("0", "1", "2")
        lab.controller.say.put_nowait(Ack(order.lease))
        async with asyncio.timeout(10):
            while (await lab.controller.hear(Heartbeat)).held:
                pass


async def test_a_rival_is_fetched_run_by_its_own_runtime_and_told_with_the_job(lab: Lab) -> None:
    async with serving(lab.controller, lab.blobs) as address, lab.agent(address):
        _, device_id = await lab.hello()
        order = lab.assign(
            device_id, "cnn.onnx", rival="cnn.tflite", launches=2, max_launches=3, width=0.0001
        )
        result = await lab.controller.hear(JobResult)
        assert result.error == ""
        measured, rival = result.measurement, result.measurement.rival
        assert (measured.outcome, rival.outcome) == (Outcome.OK, Outcome.OK)
        assert (len(measured.launches), len(rival.launches)) == (3, 3)
        assert measured.stop is Stop.LAUNCHES
        assert order.request.rival is not None
        assert rival.artifact_digest == order.request.rival.artifact.digest
        assert {each.unit for each in rival.launches[0].placements} == {"XNNPACK"}
        context = {each.name: each.value for each in measured.context}
        assert context["rival_runtime_version"]


async def test_a_killed_agent_leaves_no_process_and_holds_nothing_when_it_is_back(
    lab: Lab,
) -> None:
    async with serving(lab.controller, lab.blobs) as address:
        async with lab.agent(address) as agent:
            _, device_id = await lab.hello()
            lab.assign(device_id, "endless.onnx", launch_timeout_s=300.0)
            started = await launched(agent)
            os.kill(agent.pid, signal.SIGKILL)
            await until_gone(*started)
        async with lab.agent(address):
            hello, again = await lab.hello()
            assert hello.held == ()
            assert again == device_id
            lab.assign(device_id, "cnn.onnx", token=2)
            assert (await lab.controller.hear(JobResult)).measurement.outcome is Outcome.OK


async def test_a_result_survives_the_controller_and_then_the_agent(lab: Lab) -> None:
    async with serving(lab.controller, lab.blobs) as address:
        async with lab.agent(address) as agent:
            _, device_id = await lab.hello()
            order = lab.assign(device_id, "cnn.onnx")
            measured = (await lab.controller.hear(JobResult)).measurement
            os.kill(agent.pid, signal.SIGKILL)
        async with lab.agent(address):
            hello, _ = await lab.hello()
            assert hello.held == (order.lease,)
            assert (await lab.controller.hear(JobResult)).measurement == measured
            lab.controller.say.put_nowait(Abandon(order.lease, "a newer lease was granted"))
            async with asyncio.timeout(10):
                while (await lab.controller.hear(Heartbeat)).held:
                    pass


async def test_a_job_runs_on_while_the_controller_restarts(lab: Lab) -> None:
    async with serving(lab.controller, lab.blobs) as address:
        agent = await lab_agent(lab, address)
        _, device_id = await lab.hello()
        order = lab.assign(device_id, "cnn.onnx", launches=1, iterations=10**6, max_sampling_s=3.0)
        started = await launched(agent.process)
    lab.controller = StandInController()
    async with agent.leaving, serving(lab.controller, lab.blobs, address):
        assert (await lab.controller.hear(Hello)).held == (order.lease,)
        assert all(each.is_running() for each in started)
        result = await lab.controller.hear(JobResult)
        assert result.lease == order.lease
        assert result.measurement.outcome is Outcome.OK


class Running:
    """An agent that outlives one controller."""

    def __init__(self, process: psutil.Process, leaving: contextlib.AsyncExitStack) -> None:
        self.process = process
        self.leaving = leaving


async def lab_agent(lab: Lab, address: str) -> Running:
    leaving = contextlib.AsyncExitStack()
    return Running(await leaving.enter_async_context(lab.agent(address)), leaving)


async def test_stopping_politely_ends_the_job_and_everything_it_started(lab: Lab) -> None:
    async with serving(lab.controller, lab.blobs) as address:
        async with lab.agent(address) as agent:
            _, device_id = await lab.hello()
            lab.assign(device_id, "endless.onnx", launch_timeout_s=300.0)
            started = await launched(agent)
            agent.terminate()
            await until_gone(agent, *started)
        assert not list((lab.folder / "state" / "agent" / "spool").glob("*.json"))


async def test_enrolment_is_done_once_and_again_when_the_controller_forgot(lab: Lab) -> None:
    credential = lab.folder / "state" / "agent" / "credential"
    async with serving(lab.controller, lab.blobs, enrolled_only=True) as address:
        async with lab.agent(address, token=TOKEN):
            await lab.controller.hear(Hello)
        assert credential.stat().st_mode & 0o777 == 0o600
        assert credential.read_text() in lab.controller.credentials
        assert len(lab.controller.credentials) == 1
        async with lab.agent(address, token=TOKEN):
            await lab.controller.hear(Hello)
        assert len(lab.controller.credentials) == 1
        lab.controller.credentials.clear()
        async with lab.agent(address, token=TOKEN):
            await lab.controller.hear(Hello)
        assert credential.read_text() in lab.controller.credentials


async def test_a_second_agent_in_the_same_folder_is_refused(lab: Lab) -> None:
    async with serving(lab.controller, lab.blobs) as address, lab.agent(address):
        await lab.controller.hear(Hello)
        settings = AgentSettings(controller=address, state_dir=lab.folder / "state")
        with pytest.raises(AlreadyExists, match="another agent uses"):
            await run(settings, stop=asyncio.Event())


def test_the_agent_itself_loads_no_runtime_and_no_framework() -> None:
    code = (
        "import sys, distillfarm.agent.main, distillfarm.agent.drivers.host.source, "
        "distillfarm.agent.runners.onnxruntime, distillfarm.agent.runners.litert; "
        "heavy = {'onnxruntime', 'ai_edge_litert', 'torch', 'onnx', 'tensorflow'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
