"""How long a job waits for an idle device among a thousand connected ones.

A controller in a process of its own, with its database on disk, holds 1,000 sessions of simulated
agents with one idle device each. Jobs are submitted one at a time through gRPC; the time runs from
the call to the moment when the agent has the assignment. The peer, in the same run on the same
server: a bare unary call and a job's trip through a session, without store and scheduler, that is
one health check, then one heartbeat with an unknown lease and its Abandon. Ends with 1 when the
99th percentile, or its ratio to the peer's, is beyond the limit.
"""

import argparse
import asyncio
import logging
import multiprocessing
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "standins"))

import farm_samples as samples
import structlog
from controller_farm import running_farm
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rich.console import Console
from rich.table import Table
from simulated_agent import SimulatedAgent

from distillfarm.controller.settings import ControllerSettings
from distillfarm.domain.agent import Abandon, Assign, Heartbeat
from distillfarm.domain.job import Lease
from distillfarm.wire.convert import to_message
from distillfarm.wire.transport import create_channel
from distillfarm.wire.v1 import job_pb2
from distillfarm.wire.v1 import services_pb2 as pb
from distillfarm.wire.v1.services_pb2_grpc import DevicesStub, JobsStub

AGENTS_PER_CONNECTION = 50
CONNECTING = 20


def main() -> int:
    """Run it; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--limit-ms", type=float, default=250.0, help="of the 99th percentile")
    parser.add_argument("--limit-ratio", type=float, default=10.0, help="of both medians")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        server = context.Process(target=serve, args=(there, folder), daemon=True)
        server.start()
        address, digest = here.recv()
        try:
            dispatched, bare, connected_s = asyncio.run(
                measure(address, digest, options.devices, options.jobs)
            )
        finally:
            here.send("stop")
            server.join(20)
    return report(dispatched, bare, connected_s, options)


def serve(pipe: Connection, folder: str) -> None:
    """The controller's process."""
    # Two lines for each of a thousand agents would bury the table.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    settings = ControllerSettings(
        state_dir=Path(folder), listen="127.0.0.1:0", web_listen="", grace_s=0.0
    )

    async def serve_until_told() -> None:
        async with running_farm(settings) as farm:
            pipe.send((farm.address, farm.blobs.put_bytes(b"a model")))
            await asyncio.to_thread(pipe.recv)

    asyncio.run(serve_until_told())


async def measure(
    address: str, digest: str, devices: int, jobs: int
) -> tuple[list[float], list[float], float]:
    """Milliseconds of each dispatch and of each bare trip, and the seconds to connect."""
    assigned: dict[str, asyncio.Future[float]] = {}

    def on_assign(assign: Assign) -> None:
        assigned[assign.request.idempotency_key].set_result(time.perf_counter())

    channels = [create_channel(address) for _ in range(-(-devices // AGENTS_PER_CONNECTION))]
    agents = [
        SimulatedAgent(
            address,
            f"agent-{number}",
            [samples.device_info(f"phone-{number}")],
            works=True,
            channel=channels[number // AGENTS_PER_CONNECTION],
            on_assign=on_assign,
        )
        for number in range(devices)
    ]
    began = time.perf_counter()
    gate = asyncio.Semaphore(CONNECTING)

    async def connect(agent: SimulatedAgent) -> None:
        async with gate:
            await agent.__aenter__()

    await asyncio.gather(*map(connect, agents))
    connected_s = time.perf_counter() - began
    user = create_channel(address)
    reply = await DevicesStub(user).ListDevices(pb.ListDevicesRequest())
    idle = sum(device.status == 1 for device in reply.devices)
    if idle != devices:
        raise SystemExit(f"only {idle} of {devices} devices are idle")

    async def dispatch(number: int) -> float:
        key = f"job-{number}"
        assigned[key] = asyncio.get_running_loop().create_future()
        request = to_message(samples.request(key, digest=digest), job_pb2.JobRequest)
        begin = time.perf_counter()
        await JobsStub(user).SubmitJob(pb.SubmitJobRequest(request=request))
        return (await assigned[key] - begin) * 1e3

    lost = Lease("job-0", "device-0", "agent-0", 1, 0.0)

    async def bare_trip() -> float:
        begin = time.perf_counter()
        await health_pb2_grpc.HealthStub(user).Check(health_pb2.HealthCheckRequest())
        await agents[0].send(Heartbeat((lost,)))
        await agents[0].expect(Abandon)
        return (time.perf_counter() - begin) * 1e3

    try:
        for number in range(20):  # warm both
            await dispatch(-number - 1)
            await bare_trip()
        dispatched, bare = [], []
        for number in range(jobs):  # in turns, so that both see the same machine
            dispatched.append(await dispatch(number))
            bare.append(await bare_trip())
        return dispatched, bare, connected_s
    finally:
        await asyncio.gather(*(agent.cut() for agent in agents))
        await asyncio.gather(*(channel.close(None) for channel in [user, *channels]))


def report(
    dispatched: list[float], bare: list[float], connected_s: float, options: argparse.Namespace
) -> int:
    """Print the table; 1 when a limit is broken."""
    table = Table(title=f"submit to start, {options.devices} idle devices, {len(bare)} jobs")
    for column in ("", "p50", "p99"):
        table.add_column(column, justify="right")
    rows = {name: quantiles(values) for name, values in (("dispatch", dispatched), ("bare", bare))}
    for name, (p50, p99) in rows.items():
        table.add_row(name, f"{p50:.1f} ms", f"{p99:.1f} ms")
    ratio = rows["dispatch"][0] / rows["bare"][0]
    table.add_row("ratio", f"{ratio:.1f}", f"{rows['dispatch'][1] / rows['bare'][1]:.1f}")
    console = Console()
    console.print(table)
    console.print(f"{options.devices} sessions connected in {connected_s:.1f} s")
    broken = []
    if rows["dispatch"][1] > options.limit_ms:
        broken.append(f"p99 {rows['dispatch'][1]:.1f} ms is over {options.limit_ms:g} ms")
    if ratio > options.limit_ratio:
        broken.append(f"ratio of medians {ratio:.1f} is over {options.limit_ratio:g}")
    console.print("; ".join(broken) or "within the limits")
    return 1 if broken else 0


def quantiles(values: list[float]) -> tuple[float, float]:
    """The 50th and the 99th percentile."""
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[98]


if __name__ == "__main__":
    sys.exit(main())
