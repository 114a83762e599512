"""How people call devices: what a name, a label and a reason may be, and which device is meant."""

from collections.abc import Mapping, Sequence

from distillfarm.domain.errors import InvalidRequest, NotFound
from distillfarm.domain.hardware import Device

_MAX_WORD = 100
_MAX_LABELS = 50
_MAX_REASON = 1000


def meant(devices: Mapping[str, Device], word: str) -> Device:
    """The device with this id, name or serial; an id goes first, since it is always unique.

    Raises:
        NotFound: there is none.
        InvalidRequest: there are several.
    """
    if word in devices:
        return devices[word]
    found = [each for each in devices.values() if word and word in (each.name, each.info.serial)]
    if not found:
        raise NotFound(f"device {word} is unknown; see `distillfarm devices list`")
    if len(found) > 1:
        named = ", ".join(sorted(f"{each.device_id} (agent {each.agent_id})" for each in found))
        raise InvalidRequest(f"device {word} may be any of {named}; write the id")
    return found[0]


def check_name(name: str) -> None:
    """Whether a device can be called so; the empty name takes a name away.

    Raises:
        InvalidRequest: selectors could not name it.
    """
    if name:
        _check_word("name", name)


def check_labels(labels: Sequence[str]) -> None:
    """Whether a device can have these labels.

    Raises:
        InvalidRequest: too many, one twice, or one that selectors could not name.
    """
    if len(labels) > _MAX_LABELS or len(set(labels)) < len(labels):
        raise InvalidRequest(f"labels: at most {_MAX_LABELS}, each once")
    for label in labels:
        _check_word("label", label)


def check_reason(reason: str) -> None:
    """Whether a reason tells anything.

    Raises:
        InvalidRequest: it is empty or a novel.
    """
    if not reason.strip() or len(reason) > _MAX_REASON:
        raise InvalidRequest(f"reason: 1 to {_MAX_REASON} characters, for whoever reads it next")


def _check_word(kind: str, word: str) -> None:
    whole = word == word.strip() and word.isprintable() and len(word) <= _MAX_WORD
    if not word or not whole or word == "*" or set(word) & set(",="):
        raise InvalidRequest(
            f"{kind} {word[:_MAX_WORD]!r}: 1 to {_MAX_WORD} printable characters, no comma or "
            "equals sign, which selectors are made of"
        )
