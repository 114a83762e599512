"""An agent's own path through a job on a stand-in phone."""

import asyncio
import itertools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from android_phone import Lab, Phone
from launches import GOLDEN, LEASE, request

from distillfarm.agent.drivers.android import commands, gates, shell
from distillfarm.agent.drivers.android.apps import App
from distillfarm.agent.drivers.android.driver import AndroidDriver
from distillfarm.agent.drivers.android.line import PhoneLine
from distillfarm.agent.drivers.android.settings_guard import SettingsGuard
from distillfarm.agent.drivers.android.source import AndroidSource
from distillfarm.agent.execution import run_job
from distillfarm.agent.inventory import Probed
from distillfarm.agent.jobs import Jobs
from distillfarm.agent.plugins import runner
from distillfarm.agent.protocols import Attached
from distillfarm.agent.settings import AgentSettings
from distillfarm.agent.spool import Spool
from distillfarm.domain.agent import Assign, JobProgress, JobResult
from distillfarm.domain.hardware import RuntimeSupport, parse_target
from distillfarm.domain.measurement import Measurement

TARGETS = tuple(map(parse_target, ("onnxruntime/cpu", "litert/none")))
# A job waits so long for a phone that is away, and so long for one that is hot.
LINK_PATIENCE_S, GATE_PATIENCE_S = 10.0, 2.0
_SETTINGS = (
    ("global", "airplane_mode_on"),
    ("global", "stay_on_while_plugged_in"),
    ("system", "screen_brightness"),
    ("system", "screen_brightness_mode"),
    ("system", "screen_off_timeout"),
)
_CACHE, _OURS = "distillfarm", "/data/local/tmp/distillfarm"
_POLL_S, _MOMENT_S = 0.05, 60.0
_FLOOD = "#!/system/bin/sh\nexec yes 'a line that has nothing to say, again and again and again'\n"


class Station:
    """An agent's side of one phone: what production makes of ``settings``, with little patience.

    Files are kept below ``folder``; ``programs`` is a store with what the phone runs.
    """

    def __init__(
        self, lab: Lab, phone: Phone, programs: Path, folder: Path, **settings: object
    ) -> None:
        self.lab, self.phone = lab, phone
        self._folder = folder
        self._tokens = itertools.count(1)
        told: dict[str, object] = {
            "state_dir": folder,
            "adb_port": lab.server_port,
            "adb_start": False,
            "runtimes_dir": programs,
            "link_patience_s": LINK_PATIENCE_S,
            "gate_patience_s": GATE_PATIENCE_S,
            "phone_patience_s": GATE_PATIENCE_S,
        }
        self.settings = AgentSettings(**(told | settings))  # type: ignore[arg-type]
        self.source = AndroidSource(self.settings, TARGETS)

    async def attached(self) -> Attached:
        """The phone as the source gives it."""
        watching = self.source.watch()
        while True:
            for each in await anext(watching):
                if each.serial == self.phone.address:
                    return each

    async def known(self) -> Probed:
        """The phone with its facts; that the targets work on it is taken for granted."""
        device = self.lab.device(self.phone)
        info = await asyncio.to_thread(commands.identify, device)
        works = tuple(RuntimeSupport(target, "as elsewhere") for target in TARGETS)
        return Probed(await self.attached(), commands.with_runtimes(info, works))

    async def measure(
        self,
        probed: Probed,
        model: str = "cnn.onnx",
        report: Callable[[str], None] = lambda _: None,
        **spec: object,
    ) -> JobResult:
        """A job from its assignment to the result that the controller is sent."""
        target = "litert/none" if model.endswith(".tflite") else "onnxruntime/cpu"
        settings: Any = {"launches": 1} | spec
        job, files = request(GOLDEN / model, target, **settings)
        ended: asyncio.Future[JobResult] = asyncio.get_running_loop().create_future()

        async def execute(assign: Assign, tell: Callable[[str, float], None]) -> Measurement:
            return await run_job(probed, runner(job.target.runtime), assign, files, tell)

        def send(content: JobProgress | JobResult) -> None:
            if isinstance(content, JobResult):
                ended.set_result(content)
            else:
                report(content.text)

        jobs = Jobs(execute, Spool(self._folder / "spool"), send)
        jobs.start(Assign(replace(LEASE, token=next(self._tokens)), job))
        try:
            return await ended
        finally:
            await jobs.close()

    def flooding(self, attached: Attached) -> Attached:
        """The phone with a program that prints without end in the place of ours."""
        flood = self._folder / "flood"
        flood.write_text(_FLOOD)
        serial = self.phone.address
        driver = AndroidDriver(
            PhoneLine(shell.adb_client(port=self.lab.server_port), serial, address=serial),
            SettingsGuard(self._folder / "flood.settings.json", by_cable=False),
            lambda *_: App(flood, (flood,)),
            TARGETS,
        )
        return replace(
            attached, driver=driver, gates=gates.gates(driver.look, by_cable=False), meters=()
        )

    def heal(self) -> None:
        """Have the phone sound again, and its link; what it keeps of ours stays."""
        self.lab.heal(self.phone, kept=_CACHE)

    def settings_now(self) -> dict[str, str | None]:
        """What a measurement changes on the phone."""
        state = self.phone.state
        return {key: state.setting(table, key) for table, key in _SETTINGS}

    def drop_cache(self) -> None:
        """Have the phone hold nothing that was sent before."""
        shutil.rmtree(self.phone.data / _CACHE, ignore_errors=True)

    def left(self) -> list[str]:
        """What is on the phone of ours besides the cache: files, and what runs."""
        files = [path.name for path in self.phone.data.iterdir() if path.name != _CACHE]
        return files + [words for _, words in self._processes() if _OURS in words]

    def runner_pid(self) -> int:
        """The process of our runner, as the phone numbers it."""
        return next(
            pid
            for pid, words in self._processes()
            if any(word.endswith("/distillfarm-runner") for word in words.split("\0"))
        )

    async def until_said(self, event: str) -> None:
        """Wait until the runner's output has this event: files of the phone, which wake nobody."""
        async with asyncio.timeout(_MOMENT_S):
            while not any(event in text for text in map(_text, self._outputs())):  # noqa: ASYNC110
                await asyncio.sleep(_POLL_S)

    def _outputs(self) -> list[Path]:
        return list(self.phone.data.glob("distillfarm-jobs/*/out"))

    def _processes(self) -> list[tuple[int, str]]:
        """The phone's processes: number and command line, words apart by a zero byte."""
        folder = self.phone.data.parents[2] / "proc"
        return [
            (int(process.name), _text(process / "cmdline").rstrip("\0"))
            for process in folder.glob("[0-9]*")
        ]


def _text(path: Path) -> str:
    """What a file holds; nothing where it is gone meanwhile."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
