"""Fixtures of stand-in phones, for the conftest files of several folders."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from android_phone import IDENTITIES, Lab, NoPhone, Phone, lab
from phone_programs import NoPrograms, ready_programs


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


@pytest.fixture(scope="session")
def phone_programs() -> Path:
    """The store with what the phones run; skips by the name of what is missing."""
    try:
        return ready_programs()
    except NoPrograms as error:
        pytest.skip(str(error))
