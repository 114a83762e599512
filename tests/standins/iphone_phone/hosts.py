"""Computers that a phone trusts: their pair records, and TLS that only they can speak."""

import ssl
import tempfile
from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from iphone_phone.wire import Plist


@dataclass(frozen=True)
class Host:
    """A trusted computer, by what it sent when it was paired; all certificates in PEM."""

    id: str
    host_certificate: bytes
    root_certificate: bytes
    device_certificate: bytes

    @classmethod
    def of(cls, record: Plist) -> "Host":
        """The computer that offers this pair record."""
        return cls(
            record["HostID"],
            record["HostCertificate"],
            record["RootCertificate"],
            record["DeviceCertificate"],
        )


class Hosts:
    """Every computer that the phone trusts, and the key by which they know the phone."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._trusted: dict[str, Host] = {}

    @property
    def public_key(self) -> bytes:
        """What a computer makes the phone's certificate of."""
        return self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.PKCS1
        )

    def trust(self, host: Host) -> None:
        """Remember this computer."""
        self._trusted[host.id] = host

    def find(self, host_id: str) -> Host | None:
        """The computer, if it is trusted."""
        return self._trusted.get(host_id)

    def forget(self, host_id: str) -> None:
        """Trust this computer no more."""
        self._trusted.pop(host_id, None)

    def forget_all(self) -> None:
        """Trust no computer."""
        self._trusted.clear()

    def security(self, host: Host) -> ssl.SSLContext:
        """TLS as the phone's side speaks it: with a client certificate, of this computer only."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # libimobiledevice's certificates are signed by SHA-1 for old phones.
        context.set_ciphers("ALL:@SECLEVEL=0")
        key = self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        with tempfile.NamedTemporaryFile() as chain:
            chain.write(host.device_certificate + b"\n" + key)
            chain.flush()
            context.load_cert_chain(chain.name)
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        # libimobiledevice presents the root's certificate where others present the host's.
        trusted = host.host_certificate + b"\n" + host.root_certificate
        context.load_verify_locations(cadata=trusted.decode())
        return context
