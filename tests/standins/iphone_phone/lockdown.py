"""lockdownd: pairing, sessions in TLS, values, and the ports of services."""

import secrets
import ssl
import uuid
from collections.abc import Callable
from typing import Protocol

from iphone_phone.condition import Trust
from iphone_phone.device import Device
from iphone_phone.hosts import Host
from iphone_phone.supervision import Supervision
from iphone_phone.wire import Plist, Wire

PORT = 62078
NAME = "lockdown"
_NEEDS_UNLOCKING = frozenset(
    {
        "com.apple.amfi.lockdown",
        "com.apple.mobile.house_arrest",
        "com.apple.mobile.mobile_image_mounter",
    }
)
# They come with the developer image; from iOS 17 on through the tunnel alone.
DEVELOPER_SERVICES = frozenset({"com.apple.instruments.remoteserver.DVTSecureSocketProxy"})
TUNNEL_SERVICE = "com.apple.internal.devicecompute.CoreDeviceProxy"


class Doors(Protocol):
    """Where services are let in."""

    def open(self, service: str, host: Host) -> int:
        """A port at which this service takes one connection of this computer."""

    def known(self, service: str) -> bool:
        """Whether there is such a service."""


def refusal(device: Device, service: str, with_escrow: bool = False) -> str | None:
    """Why a service that exists is not started now."""
    condition = device.condition
    if service in condition.refused:
        return "InvalidService"
    if condition.locked and service in _NEEDS_UNLOCKING and not with_escrow:
        return "PasswordProtected"
    if service in DEVELOPER_SERVICES and (
        device.facts.system.personalizes or not condition.image_mounted
    ):
        return "InvalidService"
    if service == TUNNEL_SERVICE and not device.facts.system.has_tunnel:
        return "InvalidService"
    return None


class Lockdown:
    """One connection to lockdownd: without doors inside the tunnel, where pairing came before."""

    def __init__(self, device: Device, doors: Doors | None = None) -> None:
        self._device, self._doors = device, doors
        self._host: Host | None = None
        self._supervision = Supervision()
        self._in_session = False

    async def serve(self, wire: Wire) -> None:
        """Answer until the client goes.

        Raises:
            asyncio.IncompleteReadError: it has gone.
        """
        while True:
            request = await wire.plist()
            await self._device.heard(NAME)
            said = {"Request": request.get("Request"), **self._answer(request)}
            await wire.answer(said)
            if "EnableSessionSSL" in said and self._host is not None:
                await wire.secure(self._security(self._host))
            elif request.get("Request") in ("StopSession", "Goodbye"):
                return

    def _security(self, host: Host) -> ssl.SSLContext:
        return self._device.hosts.security(host)

    def _answer(self, request: Plist) -> Plist:
        handlers: dict[str, Callable[[Plist], Plist]] = {
            "QueryType": lambda _: {"Type": "com.apple.mobile.lockdown"},
            "GetValue": self._get_value,
            "SetValue": lambda _: {"Error": "SetProhibited"},
            "Pair": self._pair,
            "ValidatePair": self._validate,
            "Unpair": self._unpair,
            "StartSession": self._start_session,
            "StopSession": lambda _: {"Result": "Success"},
            "StartService": self._start_service,
            "Goodbye": lambda _: {"Result": "Success"},
        }
        handler = handlers.get(request.get("Request", ""))
        return handler(request) if handler is not None else {"Error": "InvalidRequest"}

    def _get_value(self, request: Plist) -> Plist:
        asked: Plist = {name: request[name] for name in ("Domain", "Key") if name in request}
        values = self._device.facts.domain(
            request.get("Domain"), self._device.condition, self._in_session or self._doors is None
        )
        if values is None:
            return {**asked, "Error": "GetProhibited"}
        if not request.get("Key"):
            return {**asked, "Value": values}
        if request["Key"] not in values:
            return {**asked, "Error": "MissingValue"}
        return {**asked, "Value": values[request["Key"]]}

    def _pair(self, request: Plist) -> Plist:
        if self._device.condition.locked:
            return {"Error": "PasswordProtected"}
        supervised = self._supervision.answer(
            request.get("PairingOptions", {}), self._device.condition.supervisor
        )
        if supervised is not None:
            return supervised if "Error" in supervised else self._trust(request)
        match self._device.condition.trust:
            case Trust.PENDING:
                return {"Error": "PairingDialogResponsePending"}
            case Trust.DENIED:
                return {"Error": "UserDeniedPairing"}
            case Trust.GRANTED:
                return self._trust(request)

    def _trust(self, request: Plist) -> Plist:
        self._device.hosts.trust(Host.of(request["PairRecord"]))
        return {"EscrowBag": secrets.token_bytes(32)}

    def _validate(self, request: Plist) -> Plist:
        known = self._device.hosts.find(request["PairRecord"]["HostID"])
        return {} if known is not None else {"Error": "InvalidHostID"}

    def _unpair(self, request: Plist) -> Plist:
        self._device.hosts.forget(request["PairRecord"]["HostID"])
        return {}

    def _start_session(self, request: Plist) -> Plist:
        self._host = self._device.hosts.find(request["HostID"])
        if self._host is None:
            return {"Error": "InvalidHostID"}
        self._in_session = True
        return {"SessionID": str(uuid.uuid4()).upper(), "EnableSessionSSL": True}

    def _start_service(self, request: Plist) -> Plist:
        service: str = request["Service"]
        if self._doors is None or not self._doors.known(service):
            return {"Error": "InvalidService"}
        if self._host is None:
            return {"Error": "SessionInactive"}
        reason = refusal(self._device, service, "EscrowBag" in request)
        if reason is not None:
            return {"Error": reason}
        port = self._doors.open(service, self._host)
        return {"Service": service, "Port": port, "EnableServiceSSL": True}
