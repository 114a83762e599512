"""The phone's log: as os_trace_relay's records, and as syslog_relay's lines.

Records follow https://github.com/doronz88/pymobiledevice3, services/os_trace.py.
"""

import plistlib
import struct
import time
import uuid

from iphone_phone.device import Device
from iphone_phone.log import Entry
from iphone_phone.wire import Wire

_EVERYONE = -1
# Pid, its unique number, the program's image, time, level, ticks, thread, the library's image,
# lengths of its name and the text, its offset, lengths of subsystem and category.
_RECORD = struct.Struct("<9x I Q 16s 18x I 4x I x B 6x Q Q 16s H H 2x I I I 4x")
_NOTICE = 0x00
_MICRO = 1_000_000


async def os_trace(device: Device, wire: Wire) -> None:
    """com.apple.os_trace_relay: who runs, and a stream of records."""
    request = await wire.plist()
    match request.get("Request"):
        case "PidList":
            payload = {
                str(pid): {"ProcessName": each.app.name} for pid, each in device.running.items()
            }
            said = plistlib.dumps({"Payload": payload, "Status": "RequestSuccessful"})
            await wire.send(b"\x01" + struct.pack(">I", len(said)) + said)
        case "StartActivity":
            await _stream(device, wire, request.get("Pid", _EVERYONE))
        case _:
            said = plistlib.dumps({"Status": "RequestFailed"})
            await wire.send(b"\x01" + struct.pack(">I", len(said)) + said)


async def syslog(device: Device, wire: Wire) -> None:
    """com.apple.syslog_relay: lines of text."""
    listener = device.log.listen()
    try:
        while True:
            await wire.send(_line(device.facts.name, await listener.get()))
    finally:
        device.log.leave(listener)


async def _stream(device: Device, wire: Wire, pid: int) -> None:
    listener = device.log.listen()
    try:
        status = plistlib.dumps({"Status": "RequestSuccessful"})
        # The length of the length, then the length, the least byte first.
        await wire.send(struct.pack("<II", 4, len(status)) + status)
        while True:
            entry = await listener.get()
            if pid in (_EVERYONE, entry.pid):
                record = _record(entry)
                await wire.send(b"\x02" + struct.pack("<I", len(record)) + record)
    finally:
        device.log.leave(listener)


def _record(entry: Entry) -> bytes:
    program, library, text = (
        each.encode() + b"\0" for each in (entry.program, entry.library, entry.text)
    )
    header = _RECORD.pack(
        *(entry.pid, entry.pid, uuid.uuid5(uuid.NAMESPACE_URL, entry.program).bytes),
        *(int(entry.unix_s), int(entry.unix_s % 1 * _MICRO), _NOTICE),
        *(time.monotonic_ns(), entry.pid, uuid.uuid5(uuid.NAMESPACE_URL, entry.library).bytes),
        *(len(library), len(text), 0, 0, 0),
    )
    return header + program + library + text


def _line(phone: str, entry: Entry) -> bytes:
    when = time.strftime("%b %e %H:%M:%S", time.localtime(entry.unix_s))
    name = entry.program.rpartition("/")[2].removesuffix(".app")
    return f"{when} {phone} {name}[{entry.pid}] <Notice>: {entry.text}\n\0".encode()
