"""The one question that a lab itself asks its usbmuxd: which phones are there?"""

import plistlib
import socket
import struct
from pathlib import Path

_HEADER = struct.Struct("<IIII")
_PLIST_VERSION, _PLIST_MESSAGE = 1, 8
_ANSWER_S = 2.0


def listed(where: Path) -> frozenset[str]:
    """The UDIDs of the phones that the usbmuxd at this socket lists.

    Raises:
        OSError: nobody answers there.
    """
    body = plistlib.dumps({"MessageType": "ListDevices", "ProgName": "lab"})
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(_ANSWER_S)
        asking.connect(str(where))
        header = _HEADER.pack(_HEADER.size + len(body), _PLIST_VERSION, _PLIST_MESSAGE, 1)
        asking.sendall(header + body)
        length, *_ = _HEADER.unpack(_receive(asking, _HEADER.size))
        answer = plistlib.loads(_receive(asking, length - _HEADER.size))
    return frozenset(each["Properties"]["SerialNumber"] for each in answer["DeviceList"])


def _receive(asking: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        if not (more := asking.recv(count - len(data))):
            raise ConnectionResetError("usbmuxd hung up")
        data += more
    return data
