"""The Devices service."""

from typing import Any

from distillfarm.controller.enrolment import only_users
from distillfarm.controller.fleet import Fleet
from distillfarm.wire.convert import to_message
from distillfarm.wire.v1 import hardware_pb2
from distillfarm.wire.v1 import services_pb2 as pb
from distillfarm.wire.v1.services_pb2_grpc import DevicesServicer


class Devices(DevicesServicer):
    """See services.proto."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def ListDevices(
        self, request: pb.ListDevicesRequest, context: Any
    ) -> pb.ListDevicesReply:
        devices = self._fleet.devices(request.selector)
        return pb.ListDevicesReply(
            devices=[to_message(each, hardware_pb2.Device) for each in devices]
        )

    async def GetDevice(self, request: pb.GetDeviceRequest, context: Any) -> hardware_pb2.Device:
        return to_message(self._fleet.device(request.device_id), hardware_pb2.Device)

    async def DrainDevice(
        self, request: pb.DrainDeviceRequest, context: Any
    ) -> hardware_pb2.Device:
        only_users()
        device = await self._fleet.drain(request.device_id, drained=True, note=request.note)
        return to_message(device, hardware_pb2.Device)

    async def UndrainDevice(
        self, request: pb.UndrainDeviceRequest, context: Any
    ) -> hardware_pb2.Device:
        only_users()
        device = await self._fleet.drain(request.device_id, drained=False)
        return to_message(device, hardware_pb2.Device)

    async def NameDevice(self, request: pb.NameDeviceRequest, context: Any) -> hardware_pb2.Device:
        only_users()
        device = await self._fleet.name(request.device_id, request.name)
        return to_message(device, hardware_pb2.Device)

    async def LabelDevice(
        self, request: pb.LabelDeviceRequest, context: Any
    ) -> hardware_pb2.Device:
        only_users()
        device = await self._fleet.label(request.device_id, request.labels)
        return to_message(device, hardware_pb2.Device)

    async def QuarantineDevice(
        self, request: pb.QuarantineDeviceRequest, context: Any
    ) -> hardware_pb2.Device:
        only_users()
        device = await self._fleet.quarantine(request.device_id, request.reason)
        return to_message(device, hardware_pb2.Device)

    async def ReleaseDevice(
        self, request: pb.ReleaseDeviceRequest, context: Any
    ) -> hardware_pb2.Device:
        only_users()
        device = await self._fleet.release(request.device_id)
        return to_message(device, hardware_pb2.Device)

    async def ForgiveModel(
        self, request: pb.ForgiveModelRequest, context: Any
    ) -> pb.ForgiveModelReply:
        only_users()
        return pb.ForgiveModelReply(fellings=await self._fleet.forgive(request.artifact_digest))
