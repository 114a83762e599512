"""Signs a folder of files with the controller's own key, offline, and checks such signatures.

The format is that of OpenSSF model signing, so its own command line verifies a bundle as well:
``model_signing verify key DIR --signature DIR/model.sig --public-key signing-key.pub``. The library
brings all of Sigstore, half a second of every start, and is loaded by whoever signs or checks.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from distillfarm.domain.errors import InvalidRequest
from distillfarm.files import whole

if TYPE_CHECKING:
    from model_signing import hashing

SIGNATURE = "model.sig"


@dataclass(frozen=True)
class SigningKey:
    """A key pair; ``private`` is the path of a file that only this user can read."""

    private: Path
    public_pem: bytes

    @property
    def fingerprint(self) -> str:
        """What people compare to know whose signature it is."""
        return fingerprint(self.public_pem)


def signing_key(folder: Path) -> SigningKey:
    """The key that lies in ``folder``; made there the first time."""
    path = folder / "signing-key.pem"
    if not path.exists():
        pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        whole.write(path, pem, whole.PRIVATE)
    loaded = serialization.load_pem_private_key(path.read_bytes(), None)
    public = loaded.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return SigningKey(path, public)


def fingerprint(public_pem: bytes) -> str:
    """The SHA-256 of a public key, as text.

    Raises:
        InvalidRequest: it is no public key.
    """
    try:
        key = serialization.load_pem_public_key(public_pem)
    except ValueError as error:
        raise InvalidRequest("the signing key is not a public key in PEM form") from error
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


def sign(folder: Path, key: SigningKey) -> None:
    """Write the signature over all files of ``folder`` into it."""
    from model_signing import signing  # noqa: PLC0415

    signing.Config().use_elliptic_key_signer(private_key=key.private).set_hashing_config(
        _hashing(folder)
    ).sign(folder, folder / SIGNATURE)


def signature_problem(folder: Path, public_key: Path) -> str:
    """Why the signature of ``folder`` does not hold under ``public_key``; empty when it does."""
    from model_signing import verifying  # noqa: PLC0415

    try:
        verifying.Config().use_elliptic_key_verifier(public_key=public_key).set_hashing_config(
            _hashing(folder)
        ).verify(folder, folder / SIGNATURE)
    except Exception as error:  # noqa: BLE001 - the file is hostile until proven otherwise
        return str(error) or type(error).__name__
    return ""


def _hashing(folder: Path) -> "hashing.Config":
    from model_signing import hashing  # noqa: PLC0415

    return (
        hashing.Config()
        .use_file_serialization(hashing_algorithm="sha256", allow_symlinks=False)
        .set_ignored_paths(paths=[folder / SIGNATURE], ignore_git_paths=False)
    )
