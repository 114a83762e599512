"""An iPhone as a device to measure on: made ready, what it is, its files, its launches."""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from distillfarm.agent.drivers.fault import PhoneFault
from distillfarm.agent.drivers.ios import facts, faults, preflight
from distillfarm.agent.drivers.ios.apps import Apps, PhoneApp
from distillfarm.agent.drivers.ios.files import DOCUMENTS, JOBS, Cache
from distillfarm.agent.drivers.ios.job_files import Conditions, ResultFile, Thermal
from distillfarm.agent.drivers.ios.line import PhoneLine
from distillfarm.agent.drivers.ios.protocol import (
    Condition,
    Cores,
    HangUp,
    Look,
    RemoveFolder,
    ReportNames,
    Usage,
    Usages,
)
from distillfarm.agent.drivers.ios.run import JobRun, PhoneRun, Start
from distillfarm.agent.drivers.ios.state import State
from distillfarm.agent.drivers.phone_driver import PhoneDriver, version
from distillfarm.agent.drivers.probe import INPUTS, MODELS, probe_targets
from distillfarm.agent.program.order import Order
from distillfarm.agent.runners import reports
from distillfarm.agent.runners.program import APP
from distillfarm.domain.errors import DeviceNotReady, InvalidRequest, MissingExtra
from distillfarm.domain.hardware import DeviceInfo, Runtime, RuntimeSupport, Target
from distillfarm.profiles import support
from distillfarm.profiles.catalog import shipped

# What the app was told stays true for so long: less while the phone is hot, for it cools down.
_TOLD_S, _TOLD_HOT_S = 300.0, 15.0
_TINY = Order(
    runtime=Runtime.ONNXRUNTIME.value,
    delegate="cpu",
    model="",
    inputs="",
    expected="",
    threads=1,
    max_warmup=0,
    iterations=1,
    max_sampling_s=0.0,
)
_TINY_S = 60.0
# How the app of stand-in phones names itself: what it measures is a computer.
_REFERENCE_APP = "reference app"

_log = structlog.get_logger(__name__)


class IosDriver(PhoneDriver):
    """A ``protocols.DeviceDriver`` for one iPhone.

    ``line`` reaches it; ``apps`` are what it can launch, the one named ``launch`` measures and its
    container holds the files. ``targets`` are tried by ``probe``. What was found out is kept until
    the phone has another build.
    """

    def __init__(
        self, line: PhoneLine, apps: Apps, targets: Sequence[Target], cache: Cache | None = None
    ) -> None:
        super().__init__()
        self._line = line
        self._apps = apps
        self._targets = targets
        self._cache = cache or Cache(apps[APP].bundle)
        self._running: list[PhoneRun] = []
        self._known: DeviceInfo | None = None
        self._reports: tuple[str, ...] = ()
        self._looked: tuple[float, Condition] | None = None
        self._told: tuple[float, Conditions] | None = None
        self._last: ResultFile | None = None
        self._only_looking = False

    @property
    def serial(self) -> str:
        """The phone's UDID."""
        return self._line.udid

    async def _make_ready(self) -> None:
        """Wait for the phone; it is trusted, unlocked, with image and app then."""
        identity = await self._line.settle()
        self._same_build(identity.build)
        await preflight.make_ready(self._line, identity, self._apps)
        await self._line.ask(RemoveFolder(self._cache.bundle, f"{DOCUMENTS}/{JOBS}"))
        self._reports = await self._line.ask(ReportNames())

    async def close(self) -> None:
        """End the worker of a phone that was unplugged; the next question starts another."""
        await self._line.close()

    async def probe(self) -> DeviceInfo:
        """Read the facts and run a tiny model on every target that an iPhone may have.

        Raises:
            PhoneFault: no profile knows this model.
        """
        identity = self._line.before or await self._line.settle()
        if self._known is None or self._known.os_build != identity.build:
            cores = await self._line.ask(Cores(), timeout_s=60.0)
            info = facts.device_info(identity, cores, shipped())
            if info is None:
                raise PhoneFault(self.serial, faults.UNKNOWN_MODEL, identity.product)
            with self._not_measuring():
                runtimes = await self._supports(info)
            emulated = info.emulated or _is_stand_in(self._last)
            self._known = replace(info, runtimes=runtimes, emulated=emulated)
        return self._known

    async def _supports(self, info: DeviceInfo) -> tuple[RuntimeSupport, ...]:
        """What works; nothing is launched for what the phone's iOS is too old for."""
        old = {each: support.too_old(info, each) or "" for each in self._targets}
        tried = await probe_targets(self, [each for each, refusal in old.items() if not refusal])
        return (
            *tried,
            *(RuntimeSupport(each, "", refusal) for each, refusal in old.items() if refusal),
        )

    async def push(self, source: Path, name: str) -> str:
        """Send a file once; see ``files.Cache.push``."""
        self._inside()
        key = await asyncio.to_thread(version, source, name)
        if key not in self._sent:
            self._sent[key] = await self._cache.push(self._line, source, name)
        return self._sent[key]

    async def pull(self, remote: str, destination: Path) -> None:
        """Fetch one of the files that were pushed; see ``files.Cache.pull``."""
        self._inside()
        await self._cache.pull(self._line, remote, destination)

    async def launch(
        self,
        app: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        timeout_s: float,
    ) -> PhoneRun:
        """Start an app in a fresh process.

        Raises:
            InvalidRequest: no app has this name, or none can do what the arguments ask.
        """
        self._inside()
        run = self._run(self._app(app), arguments, environment, timeout_s)
        await run.begin()
        self._running.append(run)
        return run

    async def look(self, newer_than_s: float = 0.0) -> State:
        """The phone's state now, or one that was read within the last ``newer_than_s``.

        Nobody waits outside of a job for a phone that is away.
        """
        now_s = time.monotonic()
        if self._looked is None or self._looked[0] < now_s - newer_than_s:
            ask = self._line.ask if self._entered else self._line.ask_once
            self._looked = now_s, await ask(Look())
        told = self._told
        return State(self._looked[1], told[1] if told and self._is_fresh(told) else None)

    async def weather(self) -> State:
        """The state with what only an app is told: where that is old, a tiny model is launched.

        Raises:
            PhoneFault: the phone was lost, or is in low power mode, which a person must end.
        """
        if (self._told is None or not self._is_fresh(self._told)) and self._entered:
            model = MODELS / "tiny.onnx"
            order = _TINY._replace(
                model=await self.push(model, model.name),
                inputs=await self.push(INPUTS, INPUTS.name),
            )
            run = await self.launch(APP, order.to_arguments(), {}, _TINY_S)
            # An app without the runtime tells how the phone fares all the same.
            with self._not_measuring(), contextlib.suppress(MissingExtra):
                await reports.follow(run)
        state = await self.look()
        if state.app is not None and state.app.low_power_mode:
            raise PhoneFault(self.serial, faults.LOW_POWER, "its app was told so")
        return state

    async def context(self) -> Mapping[str, str]:
        """Battery, lock, thermal state; of the last launch what is no part of its numbers."""
        return {**(await self.look()).context(), **_asides(self._last)}

    async def usages(self, since_s: float) -> tuple[Usage, ...]:
        """What launched apps used since a moment of the agent's monotonic clock."""
        return await self._line.ask(Usages(since_s))

    async def reset(self) -> None:
        """End every launch, remove the jobs, hang up; idempotent."""
        while self._running:
            await self._running[-1].kill()
            self._running.pop()
        await self._line.ask(RemoveFolder(self._cache.bundle, f"{DOCUMENTS}/{JOBS}"))
        await self._line.ask(HangUp())
        self._last = None

    def _run(
        self,
        app: PhoneApp,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        timeout_s: float,
    ) -> PhoneRun:
        start = Start(app, tuple(arguments), dict(environment), timeout_s, self._reports)
        if not app.by_job:
            return PhoneRun(self._line, start)
        try:
            order = Order.from_arguments(arguments)
        except (KeyError, ValueError) as error:
            raise InvalidRequest(f"{app.bundle} takes no {' '.join(arguments)!r}") from error
        return JobRun(self._line, start, order, self._take)

    def _take(self, result: ResultFile) -> None:
        """Keep what a launch tells of the phone.

        Raises:
            PhoneFault: it was in low power mode meanwhile, which the gates had not heard of.
            DeviceNotReady: it was hot already when the launch began, likewise.
        """
        self._last = result
        self._told = time.monotonic(), result.after
        if self._only_looking:
            return
        if result.before.low_power_mode or result.after.low_power_mode:
            raise PhoneFault(self.serial, faults.LOW_POWER, "its app was told so")
        if result.before.thermal is not Thermal.NOMINAL:
            state = result.before.thermal.value
            raise DeviceNotReady(
                f"{self.serial}: thermal state {state} at a launch's begin; cooling"
            )

    @contextlib.contextmanager
    def _not_measuring(self) -> Iterator[None]:
        """Launches in here find out how the phone fares and what it can; any state will do."""
        self._only_looking = True
        try:
            yield
        finally:
            self._only_looking = False

    def _app(self, name: str) -> PhoneApp:
        if name not in self._apps:
            known = ", ".join(sorted(self._apps))
            raise InvalidRequest(f"no app {name!r} on {self.serial}; there are {known}")
        return self._apps[name]

    def _is_fresh(self, told: tuple[float, Conditions]) -> bool:
        at_s, conditions = told
        sound = conditions.thermal is Thermal.NOMINAL and not conditions.low_power_mode
        return at_s > time.monotonic() - (_TOLD_S if sound else _TOLD_HOT_S)

    def _same_build(self, build: str) -> None:
        if self._known is not None and build != self._known.os_build:
            known, self._known = self._known, None
            raise PhoneFault(self.serial, faults.UPDATED, f"{known.os_build} became {build}")


def _is_stand_in(result: ResultFile | None) -> bool:
    """Whether what was launched is no app for iPhones, but the one that tests the plumbing."""
    return result is not None and _REFERENCE_APP in result.app_version


def _asides(result: ResultFile | None) -> Mapping[str, str]:
    """What a launch told beside its numbers."""
    if result is None:
        return {}
    told = {"app_version": result.app_version, "placements_source": result.placements_source}
    if result.compile_ns is not None:
        told["model_compile_ms"] = f"{result.compile_ns / 1e6:.1f}"
    if result.predicted:
        units = ", ".join(f"{each.unit} {each.nodes}" for each in result.predicted)
        told["predicted_placement"] = f"{units} (MLComputePlan's prediction, no evidence)"
    return {name: value for name, value in told.items() if value}
