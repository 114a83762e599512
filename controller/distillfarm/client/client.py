"""The controller's calls as methods: devices, studies, the matrix, and those of single jobs."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Self

from distillfarm.client.connection import Connection
from distillfarm.client.jobs import JobCalls
from distillfarm.domain.hardware import Device
from distillfarm.domain.ids import fresh_id
from distillfarm.domain.study import MatrixCell, Study, StudyEvent, StudySpec, Trial
from distillfarm.wire.convert import from_message, to_message
from distillfarm.wire.transport import ClientSecurity, create_channel
from distillfarm.wire.v1 import services_pb2 as pb
from distillfarm.wire.v1 import services_pb2_grpc as services
from distillfarm.wire.v1 import study_pb2


class Client(JobCalls):
    """Everything that the command line does, from Python; made by ``Client.connect``.

    ::

        async with Client.connect() as client:
            measurement, summary = await client.measure(Path("model.onnx"), target)

    Every call raises the error that the controller raised, of the same class. Calls are repeated
    after retryable errors: all are safe to repeat, since what creates something carries an
    idempotency key. Watching goes on over a restart of the controller.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        channel = connection.channel
        self._devices = services.DevicesStub(channel)
        self._studies = services.StudiesStub(channel)
        self._matrix = services.MatrixStub(channel)

    @classmethod
    def connect(
        cls,
        address: str = "127.0.0.1:7543",
        token: str = "",
        ca: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        *,
        call_patience_s: float = 3.0,
        watch_patience_s: float = 120.0,
    ) -> Self:
        """A client for ``async with``, made in a running loop; the first call shows who answers.

        ``token`` is a credential; ``ca`` turns TLS on, ``certificate`` and ``key`` mTLS.

        Raises:
            InvalidRequest: a malformed address, unusable TLS files, or a token without TLS to
                another machine.
        """
        channel = create_channel(address, ClientSecurity(ca, certificate, key, token))
        return cls(Connection(address, channel, call_patience_s, watch_patience_s))

    async def __aenter__(self) -> Self:
        """Nothing: the channel connects at the first call."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the channel; calls under way are cancelled."""
        await self._connection.channel.close(None)

    # Devices

    async def devices(self, selector: str = "*") -> list[Device]:
        """The devices that ``selector`` means, see ``domain.hardware.matches``."""
        request = pb.ListDevicesRequest(selector=selector)
        reply = await self._connection.reply(self._devices.ListDevices, request)
        return [from_message(each, Device) for each in reply.devices]

    async def device(self, device_id: str) -> Device:
        """One device by its id, its name or its serial, as every call on a device takes it."""
        request = pb.GetDeviceRequest(device_id=device_id)
        return await self._connection.value(self._devices.GetDevice, request, Device)

    async def drain(self, device_id: str, note: str = "") -> Device:
        """Let what runs there finish and give it nothing more."""
        request = pb.DrainDeviceRequest(device_id=device_id, note=note)
        return await self._connection.value(self._devices.DrainDevice, request, Device)

    async def undrain(self, device_id: str) -> Device:
        """Give it work again."""
        request = pb.UndrainDeviceRequest(device_id=device_id)
        return await self._connection.value(self._devices.UndrainDevice, request, Device)

    async def quarantine(self, device_id: str, reason: str) -> Device:
        """Hold it for unfit until it is released; what runs there may finish."""
        request = pb.QuarantineDeviceRequest(device_id=device_id, reason=reason)
        return await self._connection.value(self._devices.QuarantineDevice, request, Device)

    async def release(self, device_id: str) -> Device:
        """End a quarantine; a drained device stays drained."""
        request = pb.ReleaseDeviceRequest(device_id=device_id)
        return await self._connection.value(self._devices.ReleaseDevice, request, Device)

    async def name_device(self, device_id: str, name: str) -> Device:
        """Give it a name that no other device has; an empty one takes it away."""
        request = pb.NameDeviceRequest(device_id=device_id, name=name)
        return await self._connection.value(self._devices.NameDevice, request, Device)

    async def label_device(self, device_id: str, labels: Sequence[str]) -> Device:
        """Replace its labels."""
        request = pb.LabelDeviceRequest(device_id=device_id, labels=labels)
        return await self._connection.value(self._devices.LabelDevice, request, Device)

    async def forgive(self, artifact_digest: str) -> int:
        """Let a model that took devices down be run again; gives how many that were."""
        request = pb.ForgiveModelRequest(artifact_digest=artifact_digest)
        return (await self._connection.reply(self._devices.ForgiveModel, request)).fellings

    # Studies

    async def create_study(self, spec: StudySpec, idempotency_key: str = "") -> Study:
        """Begin a study; the same key and spec give the existing one."""
        request = pb.CreateStudyRequest(
            spec=to_message(spec, study_pb2.StudySpec),
            idempotency_key=idempotency_key or fresh_id("key"),
        )
        return await self._connection.value(self._studies.CreateStudy, request, Study)

    async def study(self, study_id: str) -> Study:
        """One study with what came out of it so far."""
        request = pb.GetStudyRequest(study_id=study_id)
        return await self._connection.value(self._studies.GetStudy, request, Study)

    async def studies(self) -> list[Study]:
        """All studies, newest first."""
        request = pb.ListStudiesRequest()
        reply = await self._connection.reply(self._studies.ListStudies, request)
        return [from_message(each, Study) for each in reply.studies]

    async def cancel_study(self, study_id: str) -> Study:
        """Cancel a study; a final one is left as it is."""
        request = pb.CancelStudyRequest(study_id=study_id)
        return await self._connection.value(self._studies.CancelStudy, request, Study)

    async def watch_study(
        self, study_id: str, after_sequence: int = 0
    ) -> AsyncGenerator[StudyEvent, None]:
        """Every event after a sequence number, each once, until the study is final."""
        last = after_sequence

        def request() -> pb.WatchStudyRequest:
            return pb.WatchStudyRequest(study_id=study_id, after_sequence=last)

        async def finished() -> bool:
            return (await self.study(study_id)).state.final

        watch = self._studies.WatchStudy
        events = self._connection.follow(watch, request, StudyEvent, finished)
        async with aclosing(events):
            async for event in events:
                last = event.sequence
                yield event

    async def trials(self, study_id: str) -> list[Trial]:
        """A study's trials in the order of their creation."""
        request = pb.ListTrialsRequest(study_id=study_id)
        return await self._connection.all(self._studies.ListTrials, request, Trial)

    # The matrix

    async def matrix(
        self, study_id: str = "", chipset: str = "", model_name: str = ""
    ) -> list[MatrixCell]:
        """What ran where, and how well; each argument is a filter, empty means all."""
        request = pb.QueryMatrixRequest(study_id=study_id, chipset=chipset, model_name=model_name)
        return await self._connection.all(self._matrix.QueryMatrix, request, MatrixCell)
