"""What the test's side tells a phone's process: a line of JSON each, answered by one."""

import msgspec

from iphone_phone.condition import Condition


class Change(msgspec.Struct, frozen=True, tag=True):
    """From now on everything is like this."""

    condition: Condition


class PullCable(msgspec.Struct, frozen=True, tag=True):
    """The phone is listed no more and every connection is reset."""


class PlugIn(msgspec.Struct, frozen=True, tag=True):
    """The cable is back."""


class PullCableLater(msgspec.Struct, frozen=True, tag=True):
    """The cable goes once the service has received so much; 0 is its first byte."""

    service: str
    received_bytes: int


class CutTunnel(msgspec.Struct, frozen=True, tag=True):
    """The tunnel's connections are reset; the phone stays listed."""


class ForgetHosts(msgspec.Struct, frozen=True, tag=True):
    """Settings, Reset Location & Privacy: no computer is trusted any more."""


class Restart(msgspec.Struct, frozen=True, tag=True):
    """The phone restarts, with another system where one is named: apps end, the image is gone."""

    version: str | None = None
    build: str | None = None


class Jetsam(msgspec.Struct, frozen=True, tag=True):
    """The kernel kills the app for its memory and reports it."""

    bundle: str


class Erase(msgspec.Struct, frozen=True, tag=True):
    """Apps, their files and crash reports are gone, as on the first day."""


Order = (
    Change
    | PullCable
    | PlugIn
    | PullCableLater
    | CutTunnel
    | ForgetHosts
    | Restart
    | Jetsam
    | Erase
)


class Answer(msgspec.Struct, frozen=True):
    """It is done, or why not."""

    error: str | None = None


def decode(line: str | bytes) -> Order:
    """The order in a line."""
    order: Order = msgspec.json.decode(line, type=Order)
    return order


def encode(message: Order | Answer) -> bytes:
    """A line."""
    return msgspec.json.encode(message) + b"\n"


def decode_answer(line: str | bytes) -> Answer:
    """The answer in a line."""
    return msgspec.json.decode(line, type=Answer)
