"""Which iPhones usbmuxd lists, asked in its own words: plists behind a header of 16 bytes.

The protocol is version 1 of https://github.com/libimobiledevice/usbmuxd (``usbmuxd-proto.h``).
Speaking it here keeps libraries for iPhones out of the agent's own process.
"""

import asyncio
import os
import plistlib
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from xml.parsers.expat import ExpatError

from distillfarm.domain.errors import Unavailable

SOCKET = "/var/run/usbmuxd"
_HEADER = struct.Struct("<4I")
_VERSION, _PLIST, _TAG = 1, 8, 1
_LONGEST_BYTES = 4 * 2**20
_BROKEN = (OSError, EOFError, TimeoutError, ValueError, ExpatError, KeyError, TypeError)


class NoUsbmuxd(Unavailable):
    """usbmuxd does not answer."""


@dataclass(frozen=True)
class Listed:
    """An iPhone as usbmuxd lists it; ``number`` changes whenever it is plugged in again."""

    udid: str
    number: int
    by_cable: bool


def address() -> str:
    """Where usbmuxd listens: a path, or ``HOST:PORT``; every tool for iPhones asks the variable."""
    return os.environ.get("USBMUXD_SOCKET_ADDRESS", SOCKET)


def present(where: str) -> bool:
    """Whether there is a socket at all; it may be a dead one's."""
    return ":" in where or Path(where).exists()


async def listed(where: str, timeout_s: float = 5.0) -> tuple[Listed, ...]:
    """What is plugged in now, in order of UDID; a phone on cable and Wi-Fi is listed once.

    Raises:
        NoUsbmuxd: nothing answers there in time, or not as usbmuxd does.
    """
    try:
        async with asyncio.timeout(timeout_s):
            answer = await _ask(where, {"MessageType": "ListDevices", "ProgName": "distillfarm"})
        found = [_device(each) for each in cast(list[dict[str, object]], answer["DeviceList"])]
    except _BROKEN as error:
        raise NoUsbmuxd(
            f"usbmuxd at {where} does not answer ({error or type(error).__name__}): install it "
            "(Debian package usbmuxd), or start it anew: systemctl restart usbmuxd"
        ) from error
    # By cable last, so that this one is kept.
    by_udid = {each.udid: each for each in sorted(found, key=lambda each: each.by_cable)}
    return tuple(by_udid[udid] for udid in sorted(by_udid))


async def _ask(where: str, question: dict[str, str]) -> dict[str, object]:
    reader, writer = await _connect(where)
    try:
        content = plistlib.dumps(question)
        writer.write(_HEADER.pack(_HEADER.size + len(content), _VERSION, _PLIST, _TAG) + content)
        await writer.drain()
        length, _, _, _ = _HEADER.unpack(await reader.readexactly(_HEADER.size))
        if not _HEADER.size <= length <= _LONGEST_BYTES:
            raise ValueError(f"an answer of {length} bytes")
        return cast(
            dict[str, object], plistlib.loads(await reader.readexactly(length - _HEADER.size))
        )
    finally:
        writer.close()


async def _connect(where: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if ":" not in where:
        return await asyncio.open_unix_connection(where)
    host, _, port = where.rpartition(":")
    return await asyncio.open_connection(host, int(port))


def _device(told: dict[str, object]) -> Listed:
    properties = cast(dict[str, object], told["Properties"])
    return Listed(
        udid=str(properties["SerialNumber"]),
        number=int(cast(int, told["DeviceID"])),
        by_cable=properties.get("ConnectionType") == "USB",
    )
