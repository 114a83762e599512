"""What every instrument has: its phone, and an honest answer to what it does not know."""

from typing import Any, cast

from pymobiledevice3.dtx import DTXService, dtx_on_dispatch
from pymobiledevice3.dtx.ns_types import NSError

from iphone_phone.device import Device

DEVICE = "device"


class Instrument(DTXService):
    """An instrument on a channel of its own."""

    @property
    def device(self) -> Device:
        """The phone."""
        return cast("Device", self._ctx[DEVICE])

    @dtx_on_dispatch
    async def unknown(self, selector: str, *arguments: Any) -> NSError:
        """What Objective-C says of a message that nobody takes."""
        return NSError.create_doesnt_respond_to_selector(selector)
