"""Stand-in iPhones as an agent has them: with the farm's app, a driver, gates and meters."""

import asyncio
import importlib.util
import plistlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from iphone_phone import App, Lab, Phone, write_package
from iphone_phone.reference_app import reference_app
from launches import LEASE, request

from distillfarm.agent.drivers.ios.apps import BUNDLE, Apps, PhoneApp, read_package
from distillfarm.agent.drivers.ios.driver import IosDriver
from distillfarm.agent.drivers.ios.gates import gates
from distillfarm.agent.drivers.ios.line import PhoneLine
from distillfarm.agent.drivers.ios.meters import UnmeasuredEnergy, meters
from distillfarm.agent.execution import run_job
from distillfarm.agent.inventory import Probed
from distillfarm.agent.protocols import Attached
from distillfarm.agent.runners.litert import LitertRunner
from distillfarm.agent.runners.onnxruntime import OnnxRuntimeRunner
from distillfarm.agent.runners.program import APP
from distillfarm.domain.agent import Assign
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.measurement import Measurement

# Long enough to be struck in the middle.
STRIKABLE: dict[str, Any] = {"max_warmup": 0, "iterations": 10**6, "max_sampling_s": 2.0}
TARGETS = tuple(map(parse_target, ("onnxruntime", "litert", "coreml", "coreai")))
_PATIENCE_S = 20.0


class Station:
    """One phone of a lab with what an agent puts beside it."""

    def __init__(
        self,
        lab: Lab,
        phone: Phone,
        folder: Path,
        line: PhoneLine | None = None,
    ) -> None:
        self.lab, self.phone, self.folder = lab, phone, folder
        self.line = line or PhoneLine(phone.udid, str(lab.socket), patience_s=_PATIENCE_S)
        self.driver = IosDriver(self.line, self.apps(), TARGETS)
        self.attached = Attached(
            serial=phone.udid,
            driver=self.driver,
            gates=gates(self.driver.weather),
            meters=meters(self.driver),
            energy=UnmeasuredEnergy(),
            patience_s=3.0,
            health=None,
        )

    def apps(self) -> Apps:
        """The farm's app."""
        return {APP: self._packed(reference_app(), by_job=True)}

    @property
    def package(self) -> Path:
        """The package of that app."""
        return self.folder / f"{BUNDLE}.ipa"

    def script(self, name: str) -> PhoneApp:
        """An app of one of the scripts."""
        program = f"#!/bin/sh\n{SCRIPTS[name]}\n".encode()
        return self._packed(App(f"org.example.{name}", program), by_job=False)

    def _packed(self, app: App, *, by_job: bool) -> PhoneApp:
        path = write_package(self.folder / f"{app.bundle}.ipa", app, [self.phone.udid])
        return PhoneApp(app.bundle, app.executable, read_package(path), by_job)

    async def probed(self) -> Probed:
        """The phone as the inventory has it."""
        async with self.driver as driver:
            return Probed(self.attached, await driver.probe())

    async def measure(
        self, probed: Probed, model: Path, target: str = "onnxruntime/cpu", **settings: Any
    ) -> Measurement:
        """One job, as an agent runs it."""
        asked, files = request(model, target, **settings)
        runner = OnnxRuntimeRunner() if target.startswith("onnxruntime") else LitertRunner()
        return await run_job(probed, runner, Assign(LEASE, asked), files, lambda *_: None)

    async def mid_launch(self, limit_s: float = 60.0) -> None:
        """Wait until a launch takes its samples."""
        ends_s = time.monotonic() + limit_s
        while all((self._jobs / name / "result.json").exists() for name in self.sampled()):
            if time.monotonic() > ends_s:
                raise TimeoutError("no launch came so far")
            await asyncio.sleep(0.02)

    def sampled(self) -> frozenset[str]:
        """The launches that have taken a sample, by the names of their folders on the phone."""
        told = self._jobs.glob("*/status.json")
        return frozenset(path.parent.name for path in told if '"first"' in _text(path))

    @property
    def _jobs(self) -> Path:
        return self.phone.container(BUNDLE) / "Documents" / "jobs"

    @asynccontextmanager
    async def struck(self, blow: Callable[[], None]) -> AsyncIterator[None]:
        """Strike the first launch that takes its samples."""

        async def strike() -> None:
            await self.mid_launch()
            await asyncio.to_thread(blow)

        striking = asyncio.create_task(strike())
        try:
            yield
        finally:
            await striking


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        # The agent removes what it has read.
        return ""


def keep_images(home: Path) -> None:
    """Put developer images where the library looks before it asks the network."""
    folder = home / ".pymobiledevice3" / "Xcode_iOS_DDI_Personalized"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Image.dmg").write_bytes(b"an image")
    (folder / "Image.trustcache").write_bytes(b"a trust cache")
    (folder / "BuildManifest.plist").write_bytes(
        plistlib.dumps({"ProductBuildVersion": _wanted_build(), "BuildIdentities": []})
    )
    xcode = home / ".pymobiledevice3" / "Xcode.app"
    support = xcode / "Contents/Developer/Platforms/iPhoneOS.platform/DeviceSupport" / "16.7"
    support.mkdir(parents=True, exist_ok=True)
    (support / "DeveloperDiskImage.dmg").write_bytes(b"an image")
    (support / "DeveloperDiskImage.dmg.signature").write_bytes(b"a signature")


def _wanted_build() -> str:
    from pymobiledevice3.services.mobile_image_mounter import (  # noqa: PLC0415 - optional
        LATEST_DDI_BUILD_ID,
    )

    return str(LATEST_DDI_BUILD_ID)


SCRIPTS: Mapping[str, str] = {
    "say": 'for word in "$@"; do echo "$word"; done; echo "$WORD"',
    "sleep": "sleep 300 & echo $!; sleep 300",
    "fail": "echo sorry >&2; exit 3",
}


@pytest.fixture
async def station(iphone_lab: Lab, iphone: Phone, tmp_path: Path) -> AsyncIterator[Station]:
    """One of the phones and its agent."""
    async with a_station(iphone_lab, iphone, tmp_path) as made:
        yield made


@pytest.fixture
async def impatient(iphone_lab: Lab, iphone: Phone, tmp_path: Path) -> AsyncIterator[Station]:
    """The same, with an agent that does not wait for a phone that is away."""
    line = PhoneLine(iphone.udid, str(iphone_lab.socket), patience_s=1.5)
    async with a_station(iphone_lab, iphone, tmp_path, line) as made:
        yield made


@asynccontextmanager
async def a_station(
    lab: Lab, phone: Phone, folder: Path, line: PhoneLine | None = None
) -> AsyncIterator[Station]:
    """A sound phone and its agent, who reaches it by ``line``."""
    if importlib.util.find_spec("pymobiledevice3") is None:
        pytest.skip("no pymobiledevice3: pip install 'distillfarm[ios]'")
    keep_images(lab.home)
    lab.heal()
    made = Station(lab, phone, folder, line=line)
    try:
        yield made
    finally:
        await made.driver.close()
