"""The one error tree: what can go wrong, and whether trying again can help.

``distillfarm.wire.status`` maps each class to a gRPC status code; the client raises the class
that the server raised. A benchmark that crashes, is refused by a delegate, answers wrongly,
runs out of memory or overheats is not an error but data: see ``measurement.Outcome``.
"""

from enum import Enum
from typing import ClassVar


class Blame(Enum):
    """Who has to change before a job that failed can work.

    The harness is everything of ours and between: cable, hub, adb, agent, controller. A phone's
    fault counts against that phone, a harness' fault is tried again, the model's is data.
    """

    HARNESS = "harness"
    PHONE = "phone"
    MODEL = "model"


class FarmError(Exception):
    """Base of every error that a user may see; its text names the thing and the remedy."""

    retryable: ClassVar[bool] = False
    blame: Blame = Blame.HARNESS


class InvalidRequest(FarmError):
    """What was asked for makes no sense: a bad value, an unreadable file, an unknown name."""


class ModelRejected(InvalidRequest):
    """The model file is hostile, broken or of an unknown format."""


class NotFound(FarmError):
    """The named thing does not exist."""


class AlreadyExists(FarmError):
    """The named thing exists already and differs."""


class WrongState(FarmError):
    """The thing exists but cannot do that now."""


class DeviceNotReady(WrongState):
    """The device is there but a gate is closed: too hot, drained, busy; another may be ready."""

    retryable = True
    blame = Blame.PHONE


class MissingExtra(WrongState):
    """An optional dependency is not installed; the text says how to install it."""


class LeaseLost(FarmError):
    """The lease was taken over or expired; whatever was measured under it does not count."""


class NoCapacity(FarmError):
    """A limit on waiting work, memory or disk was reached."""

    retryable = True


class Unavailable(FarmError):
    """The other side cannot be reached now."""

    retryable = True


class DeviceOffline(Unavailable):
    """The device does not answer."""


class DeviceFelled(DeviceOffline):
    """The device went down while a model ran on it, which may be the model's doing."""

    blame = Blame.MODEL


class AgentGone(Unavailable):
    """The agent that holds the device is not connected."""


class DeviceTimeout(FarmError):
    """The device did not finish in the time allowed."""

    retryable = True


class DigestMismatch(FarmError):
    """Bytes arrived that are not the ones that were named."""

    retryable = True


class Unauthenticated(FarmError):
    """No credential, or one that is unknown."""


class PermissionDenied(FarmError):
    """The credential is known but does not allow this."""


class InternalError(FarmError):
    """A defect on the other side; its log holds the details under the request id named."""


class Cancelled(FarmError):
    """The work was cancelled by its owner."""
