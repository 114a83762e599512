"""How devices fare now: the newest that their agents told, and which trouble is news."""

from dataclasses import replace

from distillfarm.domain.hardware import Device, DeviceHealth


class Vitals:
    """The newest health of every device by its id; may be read from any thread.

    It is kept in memory only: agents tell it anew soon after a restart, and how warm a phone was
    before that helps nobody. So a restarted controller takes every trouble for news.
    """

    def __init__(self) -> None:
        self._newest: dict[str, DeviceHealth] = {}

    def of(self, device_id: str) -> DeviceHealth | None:
        """The newest of one device, if its agent told any."""
        return self._newest.get(device_id)

    def put(self, device_id: str, health: DeviceHealth) -> None:
        """Take in what an agent told."""
        self._newest[device_id] = health

    def on(self, device: Device) -> Device:
        """The device with how it fares."""
        return replace(device, health=self.of(device.device_id))


def new_trouble(before: DeviceHealth | None, now: DeviceHealth) -> str:
    """The trouble that quarantines a device by itself, or nothing.

    Only one that was not there before counts: whoever releases a device knows of the trouble that
    it has, and is not to be overruled until that trouble has been away or another one came.
    """
    return now.trouble if before is None or before.trouble != now.trouble else ""
