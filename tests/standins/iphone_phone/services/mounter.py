"""com.apple.mobile.mobile_image_mounter: the developer image, as a whole or personalised.

Any bytes are taken for the image: what is in it is the phone's own here.
"""

import secrets
from collections.abc import Callable
from dataclasses import replace

from iphone_phone.device import Device
from iphone_phone.wire import Plist, Wire

_SIGNATURE = b"\x01" * 32
_PLACES = {"Developer": "/Developer", "Personalized": "/System/Developer"}


async def serve(device: Device, wire: Wire) -> None:
    """Answer until the client goes.

    Raises:
        asyncio.IncompleteReadError: it has gone.
    """
    while True:
        request = await wire.plist()
        if request.get("Command") == "ReceiveBytes":
            await wire.answer({"Status": "ReceiveBytesAck"})
            await wire.exactly(request["ImageSize"])
            await wire.answer({"Status": "Complete"})
        else:
            await wire.answer(_answer(device, request))


def _answer(device: Device, request: Plist) -> Plist:
    answers: dict[str, Callable[[], Plist]] = {
        "CopyDevices": lambda: {"EntryList": _mounted(device)},
        "Hangup": lambda: {"Goodbye": True},
        "LookupImage": lambda: _look_up(device, request["ImageType"]),
        "MountImage": lambda: _mount(device, request["ImageType"]),
        "QueryDeveloperModeStatus": lambda: {
            "DeveloperModeStatus": device.condition.developer_mode
        },
        "QueryNonce": lambda: {"PersonalizationNonce": secrets.token_bytes(32)},
        "QueryPersonalizationIdentifiers": lambda: _identifiers(device),
        # It keeps the manifest of the one image that there is: no ticket is asked for.
        "QueryPersonalizationManifest": lambda: {"ImageSignature": _SIGNATURE},
        "UnmountImage": lambda: _unmount(device, request["MountPath"]),
    }
    answer = answers.get(request.get("Command", ""))
    return answer() if answer is not None else {"Error": "UnknownCommand"}


def _look_up(device: Device, kind: str) -> Plist:
    there = device.condition.image_mounted and kind == device.image_type
    return {"ImageSignature": [_SIGNATURE] if there else [], "Status": "Complete"}


def _unmount(device: Device, place: str) -> Plist:
    if not device.condition.image_mounted or place != _PLACES[device.image_type]:
        return _failed(f"There is no matching entry in the device map for {place}")
    device.change(replace(device.condition, image_mounted=False))
    return {"Status": "Complete"}


def _mount(device: Device, kind: str) -> Plist:
    if device.condition.locked:
        return {"Error": "DeviceLocked", "DetailedError": "The device is locked."}
    if not device.condition.developer_mode:
        return _failed("Developer mode is not enabled.")
    if kind != device.image_type:
        return _failed(f"This system takes no image of type {kind}.")
    if device.condition.image_mounted:
        return _failed("A disk image of this type is already mounted.")
    device.change(replace(device.condition, image_mounted=True))
    return {"Status": "Complete"}


def _failed(words: str) -> Plist:
    return {"Error": "InternalError", "DetailedError": words}


def _mounted(device: Device) -> list[Plist]:
    kind = device.image_type
    entry = {
        "DiskImageType": kind,
        "ImageSignature": _SIGNATURE,
        "IsMounted": True,
        "MountPath": _PLACES[kind],
    }
    if device.facts.system.personalizes:
        entry["PersonalizedImageType"] = "DeveloperDiskImage"
    return [entry] if device.condition.image_mounted else []


def _identifiers(device: Device) -> Plist:
    identifiers = {
        "BoardId": device.identity.board_id,
        "ChipID": device.identity.chip_id,
        "SecurityDomain": 1,
        "UniqueChipID": device.facts.unique_chip_id,
    }
    return {"PersonalizationIdentifiers": identifiers}
