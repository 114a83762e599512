"""Fixtures of stand-in iPhones, for the conftest files of several folders."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from iphone_phone import App, Lab, Phone, lab, write_package

IPHONES = ("iphone_11", "iphone_15_pro", "iphone_16")
PROBE = "org.example.probe"
# Says how it was started, then does what it is told.
_PROGRAM = b"""#!/bin/sh
echo "arguments: $*"
echo "word: $WORD"
echo "conditions: $(cat "$IPHONE_CONDITIONS")"
case "$1" in
  burn) while :; do :; done ;;
  crash) kill -SEGV $$ ;;
  exit) exit "$2" ;;
  wait) exec sleep 1000 ;;
  write) echo made >Documents/made.txt ;;
esac
"""
_PAIR_S = 5.0


@pytest.fixture(scope="session")
def running_iphones() -> Iterator[Lab]:
    """One iPhone of every kind."""
    with lab(IPHONES) as started:
        yield started


@pytest.fixture
def iphone_lab(running_iphones: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """The phones and their usbmuxd, this process's own; all sound again after the test."""
    for name, value in running_iphones.variables.items():
        monkeypatch.setenv(name, value)
    yield running_iphones
    running_iphones.heal()
    # Nothing went wrong inside them.
    assert [phone.errors for phone in running_iphones.phones] == [""] * len(IPHONES)


@pytest.fixture
def old_iphone(iphone_lab: Lab) -> Phone:
    """One whose services are lockdown's."""
    return iphone_lab.phones[0]


@pytest.fixture
def new_iphone(iphone_lab: Lab) -> Phone:
    """One whose developer services are in a tunnel."""
    return iphone_lab.phones[1]


@pytest.fixture(params=["old_iphone", "new_iphone"])
def iphone(request: pytest.FixtureRequest) -> Phone:
    """Either."""
    phone: Phone = request.getfixturevalue(request.param)
    return phone


@pytest.fixture
def probe(iphone: Phone, tmp_path: Path) -> Path:
    """A package for that phone of an app that does what it is told."""
    return probe_package(iphone, tmp_path)


def probe_package(phone: Phone, folder: Path) -> Path:
    """A package of the app for this phone."""
    return write_package(folder / f"{phone.udid}.ipa", App(PROBE, _PROGRAM), [phone.udid])


@asynccontextmanager
async def lockdown(phone: Phone) -> AsyncIterator[Any]:
    """The phone's lockdown, paired."""
    from pymobiledevice3.lockdown import create_using_usbmux  # noqa: PLC0415 - takes a second

    client = await create_using_usbmux(serial=phone.udid, pair_timeout=_PAIR_S)
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def services(phone: Phone) -> AsyncIterator[Any]:
    """The phone's services, over the way that its iOS has for developers."""
    from pymobiledevice3.remote.userspace_tunnel import (  # noqa: PLC0415 - takes a second
        UserspaceRsdTunnel,
    )

    if phone.identity.system.has_tunnel:
        async with UserspaceRsdTunnel(phone.udid) as tunnel:
            yield tunnel
    else:
        async with lockdown(phone) as client:
            yield client
