"""Runs artifacts by the launch program, one fresh process a launch."""

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from distillfarm.agent.program.order import Order
from distillfarm.agent.protocols import DeviceDriver, Launched, LaunchFailure, Prepared
from distillfarm.agent.runners import fixed_arrays, reports
from distillfarm.domain.hardware import DeviceInfo, Runtime, Target
from distillfarm.domain.job import (
    LEAST_QUERIES,
    MOST_KEPT,
    MOST_RAW,
    JobRequest,
    MeasureSpec,
    Mode,
)

APP = "launch"
# More inferences than any processor makes in a day.
_ENDLESS = 10**12


class ProgramRunner:
    """A ``protocols.Runner`` for a runtime that ``distillfarm.agent.program`` knows."""

    runtime: ClassVar[Runtime]
    suffix: ClassVar[str]

    def refusal(self, info: DeviceInfo, target: Target) -> str | None:
        """What the probe of the device found out on this target."""
        for support in info.runtimes:
            if support.target == target:
                return support.refusal or None
        known = ", ".join(str(each.target) for each in info.runtimes if each.works) or "none"
        return f"{target} is not offered by {info.model}; targets that work there: {known}"

    async def prepare(
        self, driver: DeviceDriver, request: JobRequest, files: Mapping[str, Path]
    ) -> Prepared:
        """Push the model and, if named, the fixed inputs and reference outputs.

        Raises:
            InvalidRequest: a file of fixed arrays is none, or too large.
        """
        spec = request.spec
        return Prepared(
            model=await driver.push(files[request.artifact.digest], f"model{self.suffix}"),
            inputs=await _push_named(driver, files, spec.inputs_digest, "inputs.npz"),
            expected=await _push_named(driver, files, spec.expected_digest, "expected.npz"),
        )

    async def launch(
        self, driver: DeviceDriver, request: JobRequest, prepared: Prepared
    ) -> Launched | LaunchFailure:
        """Run the program once and judge what it said."""
        return reports.judge(await self.report(driver, request, prepared), request.spec)

    async def report(
        self, driver: DeviceDriver, request: JobRequest, prepared: Prepared
    ) -> reports.Report:
        """Run the program once; what it said."""
        spec = request.spec
        order = Order(
            runtime=self.runtime.value,
            delegate=request.target.delegate,
            model=prepared.model,
            inputs=prepared.inputs,
            expected=prepared.expected,
            threads=spec.threads,
            max_warmup=spec.max_warmup,
            iterations=spec.iterations,
            max_sampling_s=spec.max_sampling_s,
            cold=spec.cold_start.value,
        )
        asked = _sampling(order, spec)
        run = await driver.launch(APP, asked.to_arguments(), {}, spec.timeout_s)
        return await reports.follow(run)

    async def clean(self, driver: DeviceDriver, prepared: Prepared) -> None:
        """Nothing: what was pushed is the driver's content-addressed cache."""
        del driver, prepared


def _sampling(order: Order, spec: MeasureSpec) -> Order:
    """The order with what the mode asks for: a long one infers until its time is over."""
    if spec.mode is Mode.BURST:
        return order._replace(kept=min(spec.iterations, MOST_RAW))
    least = LEAST_QUERIES if spec.mode is Mode.SINGLE_STREAM else order.least
    return order._replace(
        iterations=_ENDLESS, max_sampling_s=spec.inferring_s, least=least, kept=MOST_KEPT
    )


async def _push_named(
    driver: DeviceDriver, files: Mapping[str, Path], digest: str, name: str
) -> str:
    if not digest:
        return ""
    with tempfile.NamedTemporaryFile(suffix=f"-{name}") as room:
        path = await asyncio.to_thread(fixed_arrays.stored, files[digest], room.file)
        return await driver.push(path, name)
