"""``distillfarm doctor``: what works on this computer, and what to do about the rest."""

import importlib
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import typer
from rich.text import Text

from distillfarm.cli import formats
from distillfarm.cli.connection import connected, run
from distillfarm.cli.console import harmless, output, write
from distillfarm.cli.failures import ExitCode
from distillfarm.cli.options import Connection, JsonOption, with_connection
from distillfarm.cli.servers import configure
from distillfarm.domain.errors import FarmError, InvalidRequest
from distillfarm.domain.hardware import Device, DeviceStatus

if TYPE_CHECKING:
    from distillfarm.agent.settings import AgentSettings

_NEEDED_FOR = {
    "agent": "measuring on this computer",
    "controller": "running a controller, and reading bundles",
    "compression": "compressing models",
    "litert": "exporting PyTorch models to LiteRT",
    "tensorflow": "Keras and SavedModel sources",
    "android": "Android phones on this computer",
    "ios": "iPhones on this computer",
    "postgres": "a PostgreSQL database",
    "s3": "artifacts in S3",
}
_MAIN_JOB = ("agent", "controller", "compression")
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+).*extra == ['\"]([a-z0-9-]+)['\"]")
_OLDEST_PYTHON = (3, 11)
_LITTLE_DISK_BYTES = 5e9
_NO_DISK_BYTES = 5e8
_POWER_ZONES = Path("/sys/class/powercap")


class State(Enum):
    """How a check went."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


_STYLES = {State.OK: "green", State.WARN: "yellow", State.FAIL: "bold red"}


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, how it is, and what to do about it."""

    subject: str
    state: State
    finding: str
    remedy: str = ""


@with_connection
def doctor(*, connection: Connection, as_json: JsonOption = False) -> None:
    """Look at everything that a farm needs; each line says what to do. Exit code 1 on a failure."""
    checks = [
        _python(),
        *_packages(),
        *_farm(connection),
        _disk(connection.state_dir),
        _power(_POWER_ZONES),
        *_phones(connection.state_dir),
    ]
    if as_json:
        write(msgspec.json.encode(checks))
    else:
        for check in checks:
            line = Text()
            line.append(f"{check.state.value:<5}", style=_STYLES[check.state])
            line.append(f"{check.subject}: {harmless(check.finding)}")
            if check.remedy:
                line.append(f"; {harmless(check.remedy)}")
            output().print(line, soft_wrap=True)
    if any(check.state is State.FAIL for check in checks):
        raise typer.Exit(ExitCode.ERROR)


def _python() -> Check:
    version = platform.python_version()
    if sys.version_info[:2] < _OLDEST_PYTHON:
        return Check("python", State.FAIL, version, "install Python 3.11 or newer")
    return Check("python", State.OK, f"{version} on {platform.system()} {platform.machine()}")


def _packages() -> Iterator[Check]:
    yield Check("distillfarm", State.OK, metadata.version("distillfarm"))
    for name, packages in _extras().items():
        if name not in _NEEDED_FOR:
            continue
        versions = {package: _version(package) for package in packages}
        missing = [package for package, version in versions.items() if not version]
        subject = f"extra {name}"
        if not missing:
            found = ", ".join(f"{package} {version}" for package, version in versions.items())
            yield Check(subject, State.OK, found)
            continue
        state = State.WARN if name in _MAIN_JOB or len(missing) < len(packages) else State.OK
        yield Check(
            subject,
            state,
            f"not installed: {', '.join(missing)}",
            f"only for {_NEEDED_FOR[name]}: pip install 'distillfarm[{name}]'",
        )


def _extras() -> dict[str, list[str]]:
    extras: dict[str, list[str]] = {}
    for requirement in metadata.requires("distillfarm") or ():
        match = _REQUIREMENT.match(requirement)
        if match:
            extras.setdefault(match[2], []).append(match[1])
    return extras


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _farm(connection: Connection) -> Iterator[Check]:
    async def work() -> list[Device]:
        async with connected(connection) as client:
            return await client.devices("*")

    try:
        devices = run(work())
    except FarmError as error:
        # Only an address that somebody named must answer; otherwise commands start a farm.
        yield Check("controller", State.FAIL if connection.address else State.WARN, str(error))
        return
    yield Check("controller", State.OK, f"answers, {len(devices)} devices")
    for device in devices:
        yield from _device(device)


def _device(device: Device) -> Iterator[Check]:
    subject = f"device {harmless(device.device_id)}"
    if device.status is DeviceStatus.OFFLINE:
        yield Check(
            subject, State.WARN, f"offline {device.note}", f"look at its agent, {device.agent_id}"
        )
        return
    finding = f"{device.info.model}, {device.status.value} {device.note}".strip()
    match device.status:
        case DeviceStatus.QUARANTINED:
            again = f"mend it, then: distillfarm devices release {device.device_id}"
            yield Check(subject, State.WARN, finding, again)
        case DeviceStatus.DRAINED:
            yield Check(subject, State.WARN, finding)
        case _:
            yield Check(subject, State.OK, finding)
    for support in device.info.runtimes:
        name = f"{subject}: {support.target}"
        if support.works:
            yield Check(name, State.OK, f"ran a tiny model with {support.version}")
        else:
            yield Check(name, State.WARN, support.refusal)


def _disk(state_dir: Path) -> Check:
    folder = next(
        each for each in (state_dir.resolve(), *state_dir.resolve().parents) if each.exists()
    )
    free = shutil.disk_usage(folder).free
    finding = f"{formats.byte_count(free)} free for {state_dir}"
    if free >= _LITTLE_DISK_BYTES:
        return Check("disk", State.OK, finding)
    state = State.WARN if free >= _NO_DISK_BYTES else State.FAIL
    return Check("disk", state, finding, "make room, or choose another --state-dir")


def _power(zones: Path) -> Check:
    counters = sorted(zones.glob("intel-rapl:*/energy_uj"))
    if not counters:
        return Check(
            "power meter",
            State.WARN,
            "this kernel offers no RAPL counters (virtual machines rarely have them)",
            "energy will be reported as not measured",
        )
    try:
        int(counters[0].read_text())
    except (OSError, ValueError) as error:
        return Check(
            "power meter",
            State.WARN,
            f"{counters[0]} cannot be read: {error}",
            f"let this user read it, for example: sudo chmod a+r {counters[0]}",
        )
    return Check("power meter", State.OK, f"RAPL, {len(counters)} counters")


def _phones(state_dir: Path) -> Iterator[Check]:
    """What the agent's drivers of phones find on this computer, as the agent is set up here."""
    # Settings load more than a command line that asks for help needs.
    from distillfarm.agent.settings import AgentSettings  # noqa: PLC0415

    try:
        settings = configure(AgentSettings, state_dir=state_dir)
    except InvalidRequest as error:
        remedy = "mend the environment's DISTILLFARM_AGENT_..."
        yield Check("agent settings", State.FAIL, str(error), remedy)
        return
    for driver in ("android", "ios"):
        yield from _checkup(driver, settings)


def _checkup(driver: str, settings: "AgentSettings") -> Iterator[Check]:
    try:
        checkup = importlib.import_module(f"distillfarm.agent.drivers.{driver}.checkup")
    except ImportError:
        # The line of the extra `agent` says what to do.
        return
    states = {
        checkup.Grade.GOOD: State.OK,
        checkup.Grade.POOR: State.WARN,
        checkup.Grade.BAD: State.FAIL,
    }
    for found in checkup.checkup(settings):
        yield Check(found.subject, states[found.grade], found.text, found.remedy)
