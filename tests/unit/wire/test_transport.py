"""Addresses, TLS and mTLS from files, and credentials that never travel readable."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from distillfarm.domain.errors import InvalidRequest, Unavailable, WrongState
from distillfarm.domain.ids import digest_bytes
from distillfarm.wire.blobs import LocalBlobs, RemoteBlobs, upload_blob
from distillfarm.wire.transport import (
    ClientSecurity,
    ServerSecurity,
    create_channel,
    create_server,
    loopback,
    parse_address,
)
from distillfarm.wire.v1 import services_pb2 as pb
from distillfarm.wire.v1.services_pb2_grpc import BlobsStub


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"weights" * 1000)
    return path


async def reaches(address: str, security: ClientSecurity, model: Path) -> bool:
    try:
        async with create_channel(address, security) as channel:
            await upload_blob(channel, model, address, patience_s=0)
    except Unavailable:
        return False
    return True


async def test_tls_admits_who_trusts_the_servers_authority(
    serve_blobs: Any, authority: Any, stranger: Any, tmp_path: Path, model: Path
) -> None:
    server = authority.identity("controller")
    address = await serve_blobs(
        LocalBlobs(tmp_path / "blobs"), security=ServerSecurity(server.certificate, server.key)
    )
    assert await reaches(address, ClientSecurity(ca=authority.path), model)
    assert not await reaches(address, ClientSecurity(ca=stranger.path), model)
    assert not await reaches(address, ClientSecurity(), model)


async def test_mtls_admits_only_certificates_of_the_lab(
    serve_blobs: Any, authority: Any, stranger: Any, tmp_path: Path, model: Path
) -> None:
    server = authority.identity("controller")
    known, unknown = authority.identity("agent"), stranger.identity("agent")
    address = await serve_blobs(
        LocalBlobs(tmp_path / "blobs"),
        security=ServerSecurity(server.certificate, server.key, client_ca=authority.path),
    )
    ca = authority.path
    assert await reaches(address, ClientSecurity(ca, known.certificate, known.key), model)
    assert not await reaches(address, ClientSecurity(ca), model)
    assert not await reaches(address, ClientSecurity(ca, unknown.certificate, unknown.key), model)


async def test_a_credential_travels_over_tls_from_loops_and_threads(
    serve_blobs: Any, authority: Any, tmp_path: Path, model: Path
) -> None:
    secrets = []

    def authenticate(secret: str) -> tuple[str, str]:
        secrets.append(secret)
        return ("user", "user")

    server = authority.identity("controller")
    address = await serve_blobs(
        LocalBlobs(tmp_path / "blobs"),
        security=ServerSecurity(server.certificate, server.key),
        authenticate=authenticate,
    )
    security = ClientSecurity(ca=authority.path, credential="secret")
    assert await reaches(address, security, model)
    remote = RemoteBlobs(address, LocalBlobs(tmp_path / "cache"), security)
    await asyncio.to_thread(remote.put_file, model)
    remote.close()
    assert set(secrets) == {"secret"}
    # A stat, an announcement and the bytes from the loop; a stat from the thread.
    assert len(secrets) == 4


def test_a_credential_never_travels_readable_to_another_machine() -> None:
    security = ClientSecurity(credential="secret")
    for address in ("lab.example:7543", "192.0.2.1:7543", "[2001:db8::1]:7543"):
        with pytest.raises(InvalidRequest, match="refusing to send a credential"):
            create_channel(address, security)
        with pytest.raises(InvalidRequest, match="refusing to send a credential"):
            RemoteBlobs(address, LocalBlobs(Path("/nowhere")), security)


async def test_a_credential_may_travel_readable_on_this_machine() -> None:
    for address in ("127.0.0.1:7543", "localhost:7543", "[::1]:7543"):
        await create_channel(address, ClientSecurity(credential="secret")).close(None)


def assert_refused(security: ServerSecurity | ClientSecurity, complaint: str) -> None:
    with pytest.raises(InvalidRequest, match=complaint):
        use(security)


def use(security: ServerSecurity | ClientSecurity) -> None:
    if isinstance(security, ServerSecurity):
        create_server("127.0.0.1:0", security)
    else:
        create_channel("127.0.0.1:7543", security)


async def test_unusable_tls_files_are_named(authority: Any, stranger: Any, tmp_path: Path) -> None:
    right, other = authority.identity("controller"), stranger.identity("controller")
    junk, missing = tmp_path / "junk.pem", tmp_path / "missing.pem"
    junk.write_text("no certificate")
    ca = authority.path
    assert_refused(ServerSecurity(missing, right.key), "certificate .*missing.pem cannot be read")
    assert_refused(ServerSecurity(right.certificate, tmp_path), "key .* cannot be read")
    assert_refused(ServerSecurity(right.certificate, other.key), "do not fit together")
    assert_refused(ServerSecurity(junk, right.key), "junk.pem and key .* do not fit together")
    assert_refused(ServerSecurity(right.certificate, junk), "do not fit together")
    assert_refused(ServerSecurity(right.certificate), "the key is missing")
    assert_refused(ServerSecurity(key=right.key), "the certificate is missing")
    assert_refused(ServerSecurity(client_ca=ca), "needs the server's own certificate")
    assert_refused(ServerSecurity(right.certificate, right.key, junk), "junk.pem is no PEM")
    assert_refused(ClientSecurity(ca=missing), "authority .*missing.pem cannot be read")
    assert_refused(ClientSecurity(ca=junk), "junk.pem is no PEM")
    assert_refused(ClientSecurity(ca, right.certificate, other.key), "do not fit together")
    assert_refused(ClientSecurity(ca, right.certificate), "the key is missing")
    assert_refused(ClientSecurity(None, right.certificate, right.key), "authority .ca. too")


async def test_an_encrypted_key_is_refused_without_asking_a_terminal(
    authority: Any, tmp_path: Path
) -> None:
    identity = authority.identity("controller")
    key = serialization.load_pem_private_key(identity.key.read_bytes(), None)
    identity.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    assert_refused(ServerSecurity(identity.certificate, identity.key), "the key unencrypted")


async def test_a_port_in_use_is_named_not_shared() -> None:
    first, address = create_server("127.0.0.1:0")
    await first.start()
    try:
        with pytest.raises(WrongState, match=f"cannot listen on {address}"):
            create_server(address)
    finally:
        await first.stop(0)


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("127.0.0.1:7543", ("127.0.0.1", 7543)),
        ("lab-1.example:0", ("lab-1.example", 0)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_addresses_are_host_and_port(address: str, parsed: tuple[str, int]) -> None:
    assert parse_address(address) == parsed


@pytest.mark.parametrize(
    "address",
    ["", "host", "host:", ":1", "host:65536", "::1:80", "dns:///x:1", "unix:/x", "a b:1", "h:1\n"],
)
def test_anything_else_is_refused_with_an_example(address: str) -> None:
    with pytest.raises(InvalidRequest, match="write HOST:PORT"):
        parse_address(address)


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1:1", True),
        ("127.8.9.10:1", True),
        ("[::1]:1", True),
        ("LocalHost:1", True),
        ("0.0.0.0:1", False),
        ("192.168.0.1:1", False),
        ("localhost.example:1", False),
        ("127.0.0.1.example:1", False),
    ],
)
def test_loopback_is_only_this_machine(address: str, local: bool) -> None:
    assert loopback(address) is local


async def test_a_large_message_passes(serve_blobs: Any, tmp_path: Path) -> None:
    data = b"x" * (20 * 2**20)
    address = await serve_blobs(LocalBlobs(tmp_path / "blobs"))
    async with create_channel(address) as channel:
        chunk = pb.BlobChunk(digest=digest_bytes(data), size_bytes=len(data), data=data)
        assert (await BlobsStub(channel).UploadBlob(iter([chunk]), timeout=20)).complete
