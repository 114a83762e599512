"""The identity that supervises phones, as Apple Configurator exports it: PKCS #12, or PEM."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import pkcs12
from pymobiledevice3.exceptions import PairingDialogResponsePendingError

from distillfarm.agent.drivers.ios.protocol import Supervisor, SupervisorTold
from distillfarm.agent.drivers.ios.worker.lockdown import session

_PEM = b"-----BEGIN"


class IdentityUnreadable(Exception):
    """It is no such file, or the password is another's; ``faults`` knows this name."""


class _Identity(NamedTuple):
    key: RSAPrivateKey | EllipticCurvePrivateKey
    certificate: x509.Certificate


async def pair(udid: str, supervisor: Supervisor) -> None:
    """See ``protocol.PairSupervised``."""
    async with session(udid) as client:
        if client.paired:
            return
        with _keybag(_opened(supervisor)) as path:
            try:
                await client.pair_supervised(path, timeout=0)
            except PairingDialogResponsePendingError:
                # Somebody else supervises it, or nobody: it asks its user as any phone does.
                return


def describe(supervisor: Supervisor) -> SupervisorTold:
    """See ``protocol.DescribeSupervisor``."""
    certificate = _opened(supervisor).certificate
    ends = certificate.not_valid_after_utc
    return SupervisorTold(certificate.subject.rfc4514_string(), ends.timestamp())


def _opened(supervisor: Supervisor) -> _Identity:
    try:
        content = Path(supervisor.identity).read_bytes()
        password = _password(supervisor)
        if content.startswith(_PEM):
            key: object = serialization.load_pem_private_key(content, password)
            certificate: x509.Certificate | None = x509.load_pem_x509_certificate(content)
        else:
            key, certificate, _ = pkcs12.load_key_and_certificates(content, password)
    except (OSError, ValueError, TypeError) as error:
        raise IdentityUnreadable(f"{supervisor.identity}: {error}") from error
    if certificate is None or not isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey):
        raise IdentityUnreadable(f"{supervisor.identity} holds no key with its certificate")
    return _Identity(key, certificate)


def _password(supervisor: Supervisor) -> bytes | None:
    if not supervisor.password_file:
        return None
    return Path(supervisor.password_file).read_bytes().rstrip(b"\r\n")


@contextmanager
def _keybag(identity: _Identity) -> Iterator[Path]:
    """The form that the library reads: without a password, for this user alone, and soon gone."""
    key = identity.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    handle, name = tempfile.mkstemp(suffix=".pem")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(key + identity.certificate.public_bytes(serialization.Encoding.PEM))
        yield Path(name)
    finally:
        Path(name).unlink()
