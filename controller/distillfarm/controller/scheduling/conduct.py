"""What failures say of the devices and models that took part: who is to be given no more work."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from distillfarm.domain.errors import Blame
from distillfarm.domain.hardware import Device, DeviceStatus

_MAX_ERROR = 500
_PRESENT = (DeviceStatus.IDLE, DeviceStatus.BUSY)


@dataclass(frozen=True)
class Ending:
    """How a job ended on a device: whose fault the ``error`` was, None for a measurement."""

    blame: Blame | None
    error: str = ""


@dataclass(frozen=True)
class Forbearance:
    """How many failures a device is allowed, each one less than what quarantines it."""

    phone: int
    harness: int

    @property
    def enough(self) -> int:
        """So many endings decide, for among more failures one kind must have reached its number."""
        return self.phone + self.harness


@dataclass(frozen=True)
class Felling:
    """A device that went down while a model ran on it."""

    target: str
    device_id: str
    serial: str
    emulated: bool
    at_s: float


def misconduct(endings: Sequence[Ending], others_work: bool, forbearance: Forbearance) -> str:
    """Why a device is to be quarantined, or nothing.

    Args:
        endings: of jobs on the device, the newest first. Those that a model is to blame for say
            nothing of it and are not among them.
        others_work: see ``others_work``. Where nothing on the agent works, the harness' failures
            are its, and a quarantine of each of its devices would only hide that.
        forbearance: how many failures since its last measurement are enough.
    """
    streak: list[Ending] = []
    for ending in endings:
        if ending.blame is None:
            break
        streak.append(ending)
    phone = [each for each in streak if each.blame is Blame.PHONE]
    if len(phone) >= forbearance.phone:
        return f"{len(phone)} failures in a row by its own fault: {phone[0].error[:_MAX_ERROR]}"
    harness = [each for each in streak if each.blame is Blame.HARNESS]
    if len(harness) >= forbearance.harness and others_work:
        return (
            f"{len(harness)} failures in a row while its agent's other devices work: "
            f"{harness[0].error[:_MAX_ERROR]}"
        )
    return ""


def others_work(newest: Iterable[Ending | None]) -> bool:
    """Whether the connection to an agent's devices works, as far as the other ones show.

    Args:
        newest: how the last job ended on each of the agent's other connected devices, None where
            there was none yet, which counts as working: nothing speaks against it.
    """
    return any(ending is None or ending.blame is not Blame.HARNESS for ending in newest)


def condemned(
    fellings: Sequence[Felling], able: Sequence[Device], enough: int
) -> tuple[Felling, ...]:
    """The fellings for which a model is given to no other device, or nothing.

    It takes ``enough`` different devices; as many times on fewer of the ``able`` ones where none
    of those is left, connected and not felled yet, or a small lab would go on for ever. What an
    emulated device does says nothing of a real one, so that each kind is judged by its own:
    emulated ones only where there is no other.

    Args:
        fellings: of one artifact on one target, the oldest first.
        able: every known device that could run it.
        enough: so many end it.
    """
    emulated = bool(able) and all(each.info.emulated for each in able)
    counted = tuple(each for each in fellings if each.emulated == emulated)
    felled = {each.device_id for each in counted}
    untouched = any(
        each.status in _PRESENT and each.info.emulated == emulated and each.device_id not in felled
        for each in able
    )
    mine = felled & {each.device_id for each in able}
    often = sum(each.device_id in mine for each in counted) >= enough
    over = len(felled) >= enough or (often and not untouched)
    return counted if over else ()
