"""A server of blobs on the real server core, and certificates made for one test run."""

import datetime
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from distillfarm.wire.blobs import BlobStore, service
from distillfarm.wire.transport import ServerSecurity, create_server
from distillfarm.wire.v1 import services_pb2 as pb
from distillfarm.wire.v1.services_pb2_grpc import BlobsServicer, add_BlobsServicer_to_server

Serve = Callable[..., Awaitable[str]]


class Blobs(BlobsServicer):
    """The Blobs service as the controller has it."""

    def __init__(self, store: BlobStore) -> None:
        self.store = store

    async def StatBlob(self, request: pb.StatBlobRequest, context: Any) -> pb.BlobStat:
        return await service.stat(self.store, request)

    async def UploadBlob(
        self, request_iterator: AsyncIterator[pb.BlobChunk], context: Any
    ) -> pb.BlobStat:
        return await service.receive(self.store, request_iterator)

    async def DownloadBlob(
        self, request: pb.DownloadBlobRequest, context: Any
    ) -> AsyncIterator[pb.BlobChunk]:
        async for chunk in service.send(self.store, request):
            yield chunk


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a server; gives its address. ``add`` adds its services."""
    async with AsyncExitStack() as stack:

        async def start(
            add: Callable[[Any], None],
            security: ServerSecurity = ServerSecurity(),  # noqa: B008 - frozen
            address: str = "127.0.0.1:0",
            **settings: Any,
        ) -> str:
            server, bound = create_server(address, security, **settings)
            add(server)
            await server.start()
            stack.push_async_callback(server.stop, 0)
            return bound

        yield start


@pytest.fixture
def serve_blobs(serve: Serve) -> Serve:
    """Start a Blobs service over a store; gives its address."""

    async def start(store: BlobStore, **settings: Any) -> str:
        return await serve(
            lambda server: add_BlobsServicer_to_server(Blobs(store), server), **settings
        )

    return start


@dataclass(frozen=True)
class Identity:
    """A certificate with its key, as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority of this test run."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._sign(name, self._key, authority=True)
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(_pem(self._certificate))

    def identity(self, name: str) -> Identity:
        """A certificate for this machine."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(name, key, authority=False)
        identity = Identity(
            self._folder / f"{self._name}-{name}.pem", self._folder / f"{self._name}-{name}.key"
        )
        identity.certificate.write_bytes(_pem(certificate))
        identity.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return identity

    def _sign(
        self, name: str, key: ec.EllipticCurvePrivateKey, *, authority: bool
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        local = [
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        ]
        return (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(self._name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(local), critical=False)
            .sign(self._key, hashes.SHA256())
        )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The lab's authority."""
    return Authority(tmp_path, "lab")


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """An authority that nobody in the lab trusts."""
    return Authority(tmp_path, "stranger")


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
