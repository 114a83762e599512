"""How a service of lockdown is spoken to in the tunnel: after a check-in, without TLS."""

from iphone_phone import lockdown
from iphone_phone.device import Device
from iphone_phone.pump import Service
from iphone_phone.wire import Wire


def behind_check_in(name: str, service: Service) -> Service:
    """The service that begins with a check-in."""

    async def serve(device: Device, wire: Wire) -> None:
        request = await wire.plist()
        await wire.answer({"Request": request.get("Request")})
        reason = lockdown.refusal(device, name)
        error = {} if reason is None else {"Error": reason}
        await wire.answer({"Request": "StartService", **error})
        if reason is None:
            await service(device, wire)

    return serve
