"""Services that come with the developer image, and the way to the newer ones of them.

Their libraries load with the first connection: most tests need none, and a phone is there at once.
"""

from iphone_phone.device import Device
from iphone_phone.wire import Wire


async def instruments(device: Device, wire: Wire) -> None:
    """Instruments, over whichever way they were reached."""
    from iphone_phone.instruments import serve  # noqa: PLC0415 - see above

    await serve(device, wire)


async def tunnel(device: Device, wire: Wire) -> None:
    """The tunnel in which everything else is reached."""
    from iphone_phone.tunnel import proxy  # noqa: PLC0415 - see above

    await proxy.serve(device, wire)
