"""A phone that is really there, under production code; skips where none is named.

``make hw-android SERIAL=...`` runs this folder and prints in the end what was shown. The same on a
stand-in phone proves the tests; what an emulated one cannot show is skipped there by name.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import pytest
from adbutils import AdbDevice

pytest.register_assert_rewrite("driver_conformance", "runner_conformance")

import phone_under_test  # noqa: E402
from phone_under_test import NotThere, PhoneUnderTest, Shown  # noqa: E402

from distillfarm.agent.protocols import Attached  # noqa: E402
from distillfarm.domain.hardware import DeviceInfo  # noqa: E402

FOLDER = Path(__file__).parent
_DEVICE = pytest.StashKey[DeviceInfo]()
# Eight targets are probed before the first test, some hundred times slower on an emulated phone.
_LONGEST_S = 1800
_NAME = re.compile(r"^[^:]+::(?:Test(\w+)::)?test_(\w+?)(\[.*\])?$")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs a phone."""
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker("hardware")
            item.add_marker(pytest.mark.timeout(_LONGEST_S))


@pytest.fixture(scope="session")
def under_test() -> PhoneUnderTest:
    """The phone; skips where none is named, fails where the named one cannot be used."""
    try:
        phone = phone_under_test.named()
    except NotThere as error:
        pytest.skip(str(error))
    try:
        phone.check()
    except NotThere as error:
        why = str(error)
    else:
        return phone
    pytest.fail(why, pytrace=False)


@pytest.fixture(scope="session")
def info(under_test: PhoneUnderTest, pytestconfig: pytest.Config) -> DeviceInfo:
    """What the agent finds out about the phone, once for all tests."""

    async def probe() -> DeviceInfo:
        async with under_test.attached() as attached, attached.driver as driver:
            return await driver.probe()

    found = pytestconfig.stash[_DEVICE] = asyncio.run(probe())
    return found


@pytest.fixture
def device(under_test: PhoneUnderTest) -> AdbDevice:
    """The phone as adbutils has it."""
    return under_test.device


@pytest.fixture
async def attached(under_test: PhoneUnderTest) -> AsyncIterator[Attached]:
    """The phone as the agent has it."""
    async with under_test.attached() as found:
        yield found


@pytest.fixture
def shown(record_property: Callable[[str, object], None]) -> Shown:
    """Writes into the table at the end."""
    return lambda text: record_property("shown", text)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """What was shown on the phone, and what was not and why."""
    rows = list(_rows(terminalreporter))
    if not rows or not os.environ.get(phone_under_test.SERIAL):
        return
    told = config.stash.get(_DEVICE, None)
    kind = "" if told is None or not told.emulated else ", emulated: no number here is a phone's"
    name = os.environ[phone_under_test.SERIAL] if told is None else f"{told.model} ({told.serial})"
    terminalreporter.section(f"what was shown on {name}{kind}")
    for outcome, what, words in rows:
        terminalreporter.write_line(f"{outcome:<9} {what}{': ' if words else ''}{words}")


def _rows(reporter: pytest.TerminalReporter) -> Iterable[tuple[str, str, str]]:
    for kind, outcome in (
        ("passed", "shown"),
        ("skipped", "not shown"),
        ("failed", "FAILED"),
        ("error", "FAILED"),
    ):
        for report in reporter.stats.get(kind, []):
            if report.nodeid.startswith("tests/hardware/") and report.when != "teardown":
                yield outcome, _name(report.nodeid), _words(report)


def _name(nodeid: str) -> str:
    match = _NAME.match(nodeid)
    if match is None:
        return nodeid
    group, name, case = match.groups(default="")
    return f"{group + ': ' if group else ''}{name.replace('_', ' ')} {case}".strip()


def _words(report: pytest.TestReport) -> str:
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return "; ".join(str(value) for name, value in report.user_properties if name == "shown")
