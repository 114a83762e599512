"""RemoteXPC, from the phone's side: XPC messages in HTTP/2, of which only frames are left.

Written after https://github.com/doronz88/pymobiledevice3, misc/RemoteXPC.md.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from bytestruct import TruncatedDataError
from hyperframe.frame import DataFrame, Frame, HeadersFrame, SettingsFrame, WindowUpdateFrame
from pymobiledevice3.remote.xpc_message import (
    XpcFlags,
    XpcWrapper,
    create_xpc_wrapper,
    decode_xpc_object,
)

from iphone_phone.wire import Plist, Wire

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_FRAME_HEADER_BYTES = 9
_ROOT, _REPLY = 1, 3
# What a client sends on the first stream once it has opened both.
_OPENED = 0x0201
_STREAMS = 100
_WINDOW_BYTES, _FIRST_WINDOW_BYTES = 2**20, 65_535
_FRAME_BYTES = 16_384
_FIRST_ID = 2


@dataclass(frozen=True)
class Message:
    """What a client says; an answer bears the same number."""

    body: Plist
    number: int


class RemoteXpc:
    """A connection; ``greeting`` is sent without being asked for, once both streams are open."""

    def __init__(self, wire: Wire, greeting: Plist | None = None) -> None:
        self._wire, self._greeting = wire, greeting
        self._opened: set[int] = set()
        self._answered: set[int] = set()
        self._partial: dict[int, bytes] = {}
        self._next_number = _FIRST_ID

    async def messages(self) -> AsyncIterator[Message]:
        """What the client says, until it goes.

        Raises:
            asyncio.IncompleteReadError: it has gone.
        """
        await self._wire.exactly(len(_PREFACE))
        self._write(
            SettingsFrame(
                settings={
                    SettingsFrame.MAX_CONCURRENT_STREAMS: _STREAMS,
                    SettingsFrame.INITIAL_WINDOW_SIZE: _WINDOW_BYTES,
                }
            )
        )
        self._write(
            WindowUpdateFrame(stream_id=0, window_increment=_WINDOW_BYTES - _FIRST_WINDOW_BYTES)
        )
        self._write(SettingsFrame(flags=["ACK"]))
        while True:
            frame = await self._frame()
            if isinstance(frame, HeadersFrame) and frame.stream_id not in self._opened:
                self._opened.add(frame.stream_id)
                self._write(HeadersFrame(stream_id=frame.stream_id, flags=["END_HEADERS"]))
            elif isinstance(frame, DataFrame) and (message := await self._message(frame)):
                yield message

    async def send(self, body: Plist, number: int | None = None) -> None:
        """Send a message, as the answer to the one of this number."""
        data = create_xpc_wrapper(body, self._next_number if number is None else number)
        self._next_number += 2
        for start in range(0, len(data), _FRAME_BYTES):
            part = data[start : start + _FRAME_BYTES]
            self._write(DataFrame(stream_id=_ROOT, data=part))
        await self._wire.writer.drain()

    async def _frame(self) -> Frame:
        header = await self._wire.exactly(_FRAME_HEADER_BYTES)
        frame, length = Frame.parse_frame_header(memoryview(header))
        frame.parse_body(memoryview(await self._wire.exactly(length)))
        return frame

    async def _message(self, frame: DataFrame) -> Message | None:
        """The message that a frame completes, if there is something in it."""
        stream = frame.stream_id
        data = self._partial.pop(stream, b"") + frame.data
        try:
            wrapper = XpcWrapper.parse(data)
        except TruncatedDataError:
            self._partial[stream] = data
            return None
        if wrapper.payload is None:
            await self._open(wrapper.flags)
            return None
        body = decode_xpc_object(wrapper.payload)
        if not body:
            self._write(DataFrame(stream_id=_ROOT, data=create_xpc_wrapper({}, 0)))
            await self._wire.writer.drain()
            return None
        return Message(body, wrapper.message_id)

    async def _open(self, flags: int) -> None:
        """Answer what opens a stream; clients differ in which they open first."""
        if flags & XpcFlags.INIT_HANDSHAKE:
            stream, said = _REPLY, int(XpcFlags.ALWAYS_SET | XpcFlags.INIT_HANDSHAKE)
        elif flags == _OPENED:
            stream, said = _ROOT, _OPENED
        else:
            return
        self._write(DataFrame(stream_id=stream, data=XpcWrapper(flags=said).build()))
        await self._wire.writer.drain()
        self._answered.add(stream)
        if self._greeting is not None and self._answered == {_ROOT, _REPLY}:
            greeting, self._greeting = self._greeting, None
            await self.send(greeting)

    def _write(self, frame: Frame) -> None:
        self._wire.writer.write(frame.serialize())
