"""Runs one job on one device: gates, launches, energy, context; gives the measurement."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from distillfarm.agent.gates import Waiting
from distillfarm.agent.inventory import Probed
from distillfarm.agent.launching import Launching, Progress, Side
from distillfarm.agent.program.loop import warm_after
from distillfarm.agent.protocols import (
    DeviceDriver,
    EnergyMeter,
    LaunchFailure,
    NotMeasured,
    Runner,
)
from distillfarm.domain.agent import Assign
from distillfarm.domain.hardware import Platform
from distillfarm.domain.ids import derived_id
from distillfarm.domain.job import JobRequest
from distillfarm.domain.measurement import (
    ContextEntry,
    Energy,
    Measurement,
    Outcome,
    RivalRun,
    Series,
    Stop,
)

_STARTED_AS = {
    Platform.HOST: "a sandboxed process",
    Platform.ANDROID: "a program of the shell's user",
    Platform.IOS: "an app in the foreground",
}


async def run_job(
    probed: Probed,
    runner: Runner,
    assign: Assign,
    files: Mapping[str, Path],
    report: Progress,
    *,
    rival: Runner | None = None,
) -> Measurement:
    """Measure an artifact; what the model does wrong is an outcome, not an error.

    ``files`` are the blobs that the request names, by digest. ``rival`` runs the request's rival,
    by default ``runner`` does. Cancelling ends what runs on the device before this returns.

    Raises:
        FarmError: the harness's fault, or inputs that do not belong to the model.
    """
    request = assign.request
    sides = [
        Side(each, side)
        for each, side in zip((runner, rival or runner), request.sides, strict=False)
    ]
    job = _Job(probed, sides, files, report, _waiting(probed, request))
    started_at_s, clock_s = time.time(), time.monotonic()
    await job.run()
    lease, own = assign.lease, sides[0]
    return Measurement(
        # One lease gives one measurement: sent twice, it is recognised.
        measurement_id=derived_id("measurement", lease.job_id, lease.device_id, str(lease.token)),
        job_id=lease.job_id,
        device_id=lease.device_id,
        artifact_digest=request.artifact.digest,
        target=request.target,
        spec=request.spec,
        outcome=own.outcome,
        reason=own.reason,
        launches=tuple(own.launches),
        energy=job.energy,
        context=tuple(ContextEntry(*entry) for entry in sorted(job.context.items())),
        started_at_s=started_at_s,
        device_s=time.monotonic() - clock_s,
        waited_s=job.waiting.waited_s + job.rested_s,
        emulated=probed.info.emulated,
        series=tuple(job.series),
        tool_runs=tuple(own.tool_runs),
        stop=job.stop,
        rival=_rival_run(sides),
    )


def _waiting(probed: Probed, request: JobRequest) -> Waiting:
    attached = probed.attached
    # A phone cools no faster than a launch without a pause has heated it.
    required_patience_s = max(attached.required_patience_s, request.spec.inferring_s)
    return Waiting(attached.gates, attached.patience_s, required_patience_s)


def _rival_run(sides: Sequence[Side]) -> RivalRun | None:
    for side in sides[1:]:
        return RivalRun(
            side.request.artifact.digest,
            side.request.target,
            side.outcome,
            side.reason,
            tuple(side.launches),
        )
    return None


@dataclass
class _Job:
    """A job with what it has found out so far."""

    probed: Probed
    sides: Sequence[Side]
    files: Mapping[str, Path]
    report: Progress
    waiting: Waiting
    stop: Stop = Stop.COUNT
    rested_s: float = 0.0
    energy: Energy = field(default_factory=lambda: Energy(reason="nothing ran"))
    context: dict[str, str] = field(default_factory=dict)
    series: list[Series] = field(default_factory=list)

    async def run(self) -> None:
        for side in self.sides:
            refusal = side.runner.refusal(self.probed.info, side.request.target)
            if refusal is not None:
                side.failure = LaunchFailure(Outcome.REFUSED, refusal)
        if self.sides[0].failure is not None:
            return
        async with self.probed.attached.driver as driver:
            self.context |= _static_context(self.probed, self.sides)
            self.context |= _named("before", await driver.context())
            self.report("sending the artifact", 0.0)
            try:
                for side in self.sides:
                    if side.failure is None:
                        side.prepared = await side.runner.prepare(driver, side.request, self.files)
                await self._metered(driver)
            finally:
                for side in self.sides:
                    if side.prepared is not None:
                        await side.runner.clean(driver, side.prepared)
            self.context |= _named("after", await driver.context())
            self.context |= _named("gate_overrun", self.waiting.overrun)
            self.context["launches_not_stationary"] = str(self._not_stationary())

    async def _metered(self, driver: DeviceDriver) -> None:
        attached = self.probed.attached
        try:
            if not self.probed.info.emulated:
                await attached.energy.start(driver)
            for meter in attached.meters:
                await meter.start(driver)
            await self._launch(driver)
        finally:
            seen = [await meter.stop() for meter in attached.meters]
            self.energy = await self._energy(attached.energy)
        self.series += [each for each in seen if isinstance(each, Series)]
        self.context |= _named("during", dict(map(_range, seen)))

    async def _launch(self, driver: DeviceDriver) -> None:
        launching = Launching(self.sides, self.waiting, self.report)
        self.stop = await launching.run(driver)
        self.rested_s = launching.rested_s

    async def _energy(self, meter: EnergyMeter) -> Energy:
        if self.probed.info.emulated:
            return Energy(reason="an emulated device: what it tells of power is no measurement")
        return await meter.stop(self.sides[0].windows)

    def _not_stationary(self) -> int:
        """How many launches used up their warm-up without becoming stationary."""
        own = self.sides[0]
        return sum(
            len(each.warmup_ns) >= own.request.spec.max_warmup
            and warm_after(each.warmup_ns) is None
            for each in own.launches
        )


def _static_context(probed: Probed, sides: Sequence[Side]) -> dict[str, str]:
    """What stays the same for the whole job."""
    info, spec = probed.info, sides[0].request.spec
    versions = {each.target: each.version for each in info.runtimes}
    told = {
        "os_build": info.os_build,
        "os_name": info.os_name,
        "firmware": info.firmware,
        "device_model": info.model,
        "chipset": str(info.chipset),
        "platform": info.platform.value,
        "launch_mode": f"{spec.mode.value}, {spec.cold_start.value}, {_STARTED_AS[info.platform]}",
    }
    for prefix, side in zip(("", "rival_"), sides, strict=False):
        told[f"{prefix}runtime_version"] = versions.get(side.request.target, "")
    return told


def _range(seen: Series | NotMeasured) -> tuple[str, str]:
    """A meter's quantity with the span of its values, or why there is none."""
    if isinstance(seen, NotMeasured):
        return seen.quantity, f"not measured: {seen.reason}"
    values = [point.value for point in seen.points]
    return seen.quantity, f"{min(values):g} .. {max(values):g} {seen.unit}"


def _named(prefix: str, facts: Mapping[str, str]) -> dict[str, str]:
    return {f"{prefix}.{name}": value for name, value in facts.items()}
