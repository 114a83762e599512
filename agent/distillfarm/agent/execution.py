"""Runs one job on one device: gates, launches, energy, context; gives the measurement."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from distillfarm.agent.gates import GatesShut, Waiting
from distillfarm.agent.inventory import Probed
from distillfarm.agent.protocols import (
    DeviceDriver,
    EnergyMeter,
    LaunchFailure,
    NotMeasured,
    Prepared,
    Runner,
    ToolRan,
    Window,
)
from distillfarm.domain.agent import Assign
from distillfarm.domain.ids import derived_id
from distillfarm.domain.job import JobRequest
from distillfarm.domain.measurement import (
    ContextEntry,
    Energy,
    Launch,
    Measurement,
    Outcome,
    Series,
    ToolRun,
)

# Gates that what is measured itself may shut.
_HEAT = frozenset({"temperature", "throttling"})

Progress = Callable[[str, float], None]
"""Takes a short line for people and how much of the job is done, 0..1."""


async def run_job(
    probed: Probed, runner: Runner, assign: Assign, files: Mapping[str, Path], report: Progress
) -> Measurement:
    """Measure an artifact; what the model does wrong is an outcome, not an error.

    ``files`` are the blobs that the request names, by digest. Cancelling ends what runs on the
    device before this returns.

    Raises:
        FarmError: the harness's fault, or inputs that do not belong to the model.
    """
    attached = probed.attached
    waiting = Waiting(attached.gates, attached.patience_s, attached.required_patience_s)
    job = _Job(probed, runner, assign.request, files, report, waiting)
    started_at_s, clock_s = time.time(), time.monotonic()
    await job.run()
    lease = assign.lease
    return Measurement(
        # One lease gives one measurement: sent twice, it is recognised.
        measurement_id=derived_id("measurement", lease.job_id, lease.device_id, str(lease.token)),
        job_id=lease.job_id,
        device_id=lease.device_id,
        artifact_digest=assign.request.artifact.digest,
        target=assign.request.target,
        spec=assign.request.spec,
        outcome=job.failure.outcome if job.failure else Outcome.OK,
        reason=job.failure.reason if job.failure else "",
        launches=tuple(job.launches),
        energy=job.energy,
        context=tuple(ContextEntry(*entry) for entry in sorted(job.context.items())),
        started_at_s=started_at_s,
        device_s=time.monotonic() - clock_s,
        waited_s=job.waiting.waited_s,
        emulated=probed.info.emulated,
        series=tuple(job.series),
        tool_runs=tuple(job.tool_runs),
    )


@dataclass
class _Job:
    """A job with what it has found out so far."""

    probed: Probed
    runner: Runner
    request: JobRequest
    files: Mapping[str, Path]
    report: Progress
    waiting: Waiting
    failure: LaunchFailure | None = None
    launches: list[Launch] = field(default_factory=list)
    tool_runs: list[ToolRun] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    energy: Energy = field(default_factory=lambda: Energy(reason="nothing ran"))
    context: dict[str, str] = field(default_factory=dict)
    series: list[Series] = field(default_factory=list)

    async def run(self) -> None:
        refusal = self.runner.refusal(self.probed.info, self.request.target)
        if refusal is not None:
            self.failure = LaunchFailure(Outcome.REFUSED, refusal)
            return
        async with self.probed.attached.driver as driver:
            self.context |= _static_context(self.probed, self.request)
            self.context |= _named("before", await driver.context())
            self.report("sending the artifact", 0.0)
            prepared = await self.runner.prepare(driver, self.request, self.files)
            try:
                await self._metered(driver, prepared)
            finally:
                await self.runner.clean(driver, prepared)
            self.context |= _named("after", await driver.context())
            self.context |= _named("gate_overrun", self.waiting.overrun)
            self.context["launches_not_stationary"] = str(self._not_stationary())

    async def _metered(self, driver: DeviceDriver, prepared: Prepared) -> None:
        attached = self.probed.attached
        try:
            if not self.probed.info.emulated:
                await attached.energy.start(driver)
            for meter in attached.meters:
                await meter.start(driver)
            await self._launch_all(driver, prepared)
        finally:
            seen = [await meter.stop() for meter in attached.meters]
            self.energy = await self._energy(attached.energy)
        self.series += [each for each in seen if isinstance(each, Series)]
        self.context |= _named("during", dict(map(_range, seen)))

    async def _energy(self, meter: EnergyMeter) -> Energy:
        if self.probed.info.emulated:
            return Energy(reason="an emulated device: what it tells of power is no measurement")
        return await meter.stop(self.windows)

    def _not_stationary(self) -> int:
        """How many launches used up their warm-up without becoming stationary."""
        most = self.request.spec.max_warmup
        return sum(len(each.warmup_ns) >= most for each in self.launches)

    async def _launch_all(self, driver: DeviceDriver, prepared: Prepared) -> None:
        count = self.request.spec.launches
        for index in range(count):
            self.report(f"launch {index + 1} of {count}", index / count)
            try:
                waited_s = await self.waiting.until_open(driver)
            except GatesShut as error:
                if not (self.launches or self.tool_runs) or not _HEAT & error.reasons.keys():
                    raise
                # It was cool before: this model heats it beyond what it can get rid of.
                self.failure = LaunchFailure(Outcome.OVERHEATED, str(error))
                return
            result = await self.runner.launch(driver, self.request, prepared)
            if isinstance(result, ToolRan):
                self.tool_runs.append(replace(result.run, waited_s=waited_s))
                continue
            if result.launch is not None:
                self.launches.append(replace(result.launch, waited_s=waited_s))
            if isinstance(result, LaunchFailure):
                self.failure = result
                return
            if result.window is not None:
                self.windows.append(result.window)


def _static_context(probed: Probed, request: JobRequest) -> dict[str, str]:
    support = [each for each in probed.info.runtimes if each.target == request.target]
    return {
        "os_build": probed.info.os_build,
        "os_name": probed.info.os_name,
        "device_model": probed.info.model,
        "chipset": str(probed.info.chipset),
        "platform": probed.info.platform.value,
        "runtime_version": support[0].version if support else "",
    }


def _range(seen: Series | NotMeasured) -> tuple[str, str]:
    """A meter's quantity with the span of its values, or why there is none."""
    if isinstance(seen, NotMeasured):
        return seen.quantity, f"not measured: {seen.reason}"
    values = [point.value for point in seen.points]
    return seen.quantity, f"{min(values):g} .. {max(values):g} {seen.unit}"


def _named(prefix: str, facts: Mapping[str, str]) -> dict[str, str]:
    return {f"{prefix}.{name}": value for name, value in facts.items()}
