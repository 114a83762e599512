"""The controller serves the pages at ``web_listen``, open on this computer, guarded elsewhere."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from distillfarm.controller.dispatch import Dispatcher
from distillfarm.controller.server import serve
from distillfarm.controller.settings import ControllerSettings
from distillfarm.controller.store.protocol import Store
from distillfarm.controller.studies import StudyRunner
from distillfarm.domain.errors import InvalidRequest
from distillfarm.wire.blobs import BlobStore


class NoStudies:
    """Runs nothing."""

    def start(self, study_id: str) -> None: ...
    def cancel(self, study_id: str) -> None: ...
    def launch(self) -> None: ...
    def shutdown(self) -> None: ...


def no_studies(
    _store: Store, _blobs: BlobStore, _dispatcher: Dispatcher, _settings: ControllerSettings
) -> StudyRunner:
    return NoStudies()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., ControllerSettings]:
    def make(**changes: object) -> ControllerSettings:
        return ControllerSettings(
            state_dir=tmp_path / "state",
            listen="127.0.0.1:0",
            web_listen=f"127.0.0.1:{free_port()}",
            grace_s=0.1,
        ).model_copy(update=changes)

    return make


@asynccontextmanager
async def serving(settings: ControllerSettings) -> AsyncIterator[None]:
    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(
        serve(settings, stop=stop, ready=lambda _: ready.set(), make_runner=no_studies)
    )
    waiter = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait({task, waiter}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        yield
    finally:
        waiter.cancel()
        stop.set()
        await asyncio.wait_for(task, 30)


async def test_the_pages_are_open_on_this_computer(
    settings: Callable[..., ControllerSettings],
) -> None:
    chosen = settings()
    async with (
        serving(chosen),
        httpx2.AsyncClient(base_url=f"http://{chosen.web_listen}") as client,
    ):
        assert "No device yet." in (await client.get("/")).text
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert "distillfarm_devices" in (await client.get("/metrics/")).text


async def test_with_a_certificate_and_a_token_the_pages_are_guarded_and_encrypted(
    settings: Callable[..., ControllerSettings], tmp_path: Path
) -> None:
    certificate, key = self_signed(tmp_path)
    chosen = settings(
        tls_certificate=certificate, tls_key=key, enrolment_token=SecretStr("a long secret")
    )
    trust = ssl.create_default_context(cafile=str(certificate))
    async with (
        serving(chosen),
        httpx2.AsyncClient(base_url=f"https://{chosen.web_listen}", verify=trust) as client,
    ):
        assert (await client.get("/")).status_code == 401
        bearer = {"authorization": "Bearer a long secret"}
        assert (await client.get("/", headers=bearer)).status_code == 200


async def test_open_pages_for_other_machines_are_refused(
    settings: Callable[..., ControllerSettings],
) -> None:
    with pytest.raises(InvalidRequest, match="set enrolment_token"):
        async with serving(settings(web_listen="0.0.0.0:0")):
            pass


def self_signed(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / "server.pem", folder / "server.key"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return pem, private
