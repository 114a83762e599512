"""Stand-in phones with the real adbd behind an adb server of their own."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from adbutils import AdbClient, AdbDevice
from android_phone import IDENTITIES, Lab, NoPhone, Phone, lab

from distillfarm.agent.drivers.android import shell


@pytest.fixture(scope="session")
def running_lab() -> Iterator[Lab]:
    """One phone of every kind; skips by the name of what is missing."""
    with ExitStack() as stack:
        try:
            started = stack.enter_context(lab(list(IDENTITIES)))
        except NoPhone as error:
            pytest.skip(str(error))
        yield started


@pytest.fixture
def phone_lab(running_lab: Lab) -> Iterator[Lab]:
    """The phones and their server, all sound again after the test."""
    yield running_lab
    running_lab.heal()


@pytest.fixture
def phone(running_lab: Lab) -> Iterator[Phone]:
    """One of the phones, sound again after the test."""
    yield running_lab.phones[0]
    running_lab.heal(running_lab.phones[0])


@pytest.fixture
def adb(running_lab: Lab) -> AdbClient:
    """The production client of the lab's server."""
    return shell.adb_client(port=running_lab.server_port)


@pytest.fixture
def device(adb: AdbClient, phone: Phone) -> AdbDevice:
    """The same phone as production code has it."""
    return adb.device(phone.address)
