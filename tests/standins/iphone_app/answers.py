"""What the app answers: its status after every event, its result at the end, each put in whole."""

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

import msgspec

from distillfarm.agent.drivers.ios import job_files
from distillfarm.agent.drivers.ios.job_files import (
    Conditions,
    JobFile,
    ResultFile,
    StatusFile,
    Thermal,
)
from distillfarm.agent.runners import reports
from distillfarm.domain.hardware import Runtime

# How each runtime tells its placements; see ``distillfarm.agent.program``.
_PLACEMENTS_SOURCE = {
    Runtime.ONNXRUNTIME: "ep_graph_assignment_info",
    Runtime.LITERT: "execution_plan",
    Runtime.COREAI: "",  # tells none
}


class Answers:
    """The answers to one job in its folder; every event is a line on standard output, too."""

    def __init__(self, job: JobFile, folder: Path) -> None:
        """Begin: the first status has no events yet."""
        self._job, self._folder = job, folder
        self._before = conditions()
        self._events: list[reports.Event] = []
        self._write_status()

    def say(self, **content: object) -> None:
        """Take in an event by its fields."""
        if content["event"] == "finished":
            content["cold_start"] = self._job.cold.value
        event = msgspec.convert(content, reports.Event)
        self._events.append(event)
        self._write_status()
        sys.stdout.write(json.dumps(content) + "\n")
        sys.stdout.flush()

    def finish(self, model_sha256: str) -> None:
        """Write the result; ``model_sha256`` is of the model that was found."""
        finished = bool(self._events) and isinstance(self._events[-1], reports.Finished)
        result = ResultFile(
            format=job_files.FORMAT,
            job=self._job.job,
            nonce=self._job.nonce,
            model_sha256=model_sha256,
            app_version=f"{version('distillfarm')} (reference app)",
            before=self._before,
            after=conditions(),
            events=tuple(self._events),
            placements_source=_PLACEMENTS_SOURCE[self._job.runtime] if finished else "",
        )
        put_in_place(self._folder / job_files.RESULT, job_files.encode(result))

    def _write_status(self) -> None:
        status = StatusFile(
            format=job_files.FORMAT,
            job=self._job.job,
            nonce=self._job.nonce,
            pid=os.getpid(),
            events=tuple(self._events),
        )
        put_in_place(self._folder / job_files.STATUS, job_files.encode(status))


def conditions() -> Conditions:
    """How the stand-in phone says it fares."""
    told = os.environ.get("IPHONE_CONDITIONS")
    if not told:
        return Conditions(Thermal.NOMINAL, low_power_mode=False)
    return msgspec.json.decode(Path(told).read_bytes(), type=Conditions)


def put_in_place(path: Path, content: bytes) -> None:
    """Write a file that is never seen in part."""
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(content)
    new.replace(path)
