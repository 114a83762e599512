"""Stand-in phones with the real adbd behind an adb server of their own."""

import pytest
from adbutils import AdbClient, AdbDevice
from android_phone import Lab, Phone
from phone_fixtures import phone, phone_lab, phone_programs, running_lab

from distillfarm.agent.drivers.android import shell

__all__ = ["phone", "phone_lab", "phone_programs", "running_lab"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs a phone."""
    for item in items:
        if "/tests/phones/" in item.path.as_posix():
            item.add_marker("phones")


@pytest.fixture
def adb(running_lab: Lab) -> AdbClient:
    """The production client of the lab's server."""
    return shell.adb_client(port=running_lab.server_port)


@pytest.fixture
def device(adb: AdbClient, phone: Phone) -> AdbDevice:
    """The same phone as production code has it."""
    return adb.device(phone.address)
