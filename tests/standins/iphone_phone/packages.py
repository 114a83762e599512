"""App packages as Xcode's export has them, with any program of this computer as their executable.

The profile is a signed message (CMS) around a plist, as Apple's are, by a key of its own: a
stand-in phone believes it, a real one never would.
"""

import datetime
import plistlib
import uuid
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7

PROFILE = "embedded.mobileprovision"
_TEAM = "STANDIN123"
_EXECUTABLE_MODE = 0o100755
# A paid account's profiles last a year, a free one's a week:
# https://developer.apple.com/support/compare-memberships/
_LASTS = datetime.timedelta(days=365)


@dataclass(frozen=True)
class App:
    """An app to be packed; ``program`` is what the kernel can run, such as a script with ``#!``."""

    bundle: str
    program: bytes
    executable: str = "Runner"
    version: str = "1.0"
    build: str = "1"
    minimum_system: str = "16.0"


def write_package(
    path: Path,
    app: App,
    udids: Sequence[str],
    expires: datetime.datetime | None = None,
    signed: bool = True,
) -> Path:
    """Pack the app for these phones; its profile expires in a year where nothing else is said."""
    info = {
        "CFBundleExecutable": app.executable,
        "CFBundleIdentifier": app.bundle,
        "CFBundleName": app.executable,
        "CFBundlePackageType": "APPL",
        "CFBundleShortVersionString": app.version,
        "CFBundleVersion": app.build,
        "MinimumOSVersion": app.minimum_system,
        "UIFileSharingEnabled": True,
    }
    folder = f"Payload/{app.executable}.app"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr(f"{folder}/Info.plist", plistlib.dumps(info, fmt=plistlib.FMT_BINARY))
        program = zipfile.ZipInfo(f"{folder}/{app.executable}")
        program.external_attr = _EXECUTABLE_MODE << 16
        package.writestr(program, app.program)
        package.writestr(f"{folder}/{PROFILE}", profile(app.bundle, udids, expires))
        if signed:
            package.writestr(f"{folder}/_CodeSignature/CodeResources", plistlib.dumps({}))
    return path


def profile(bundle: str, udids: Sequence[str], expires: datetime.datetime | None = None) -> bytes:
    """A development profile for these phones."""
    now = datetime.datetime.now(datetime.UTC)
    contents = {
        "AppIDName": bundle,
        "CreationDate": now.replace(tzinfo=None),
        "Entitlements": {
            "application-identifier": f"{_TEAM}.{bundle}",
            "com.apple.developer.team-identifier": _TEAM,
            "get-task-allow": True,
        },
        "ExpirationDate": (expires or now + _LASTS).astimezone(datetime.UTC).replace(tzinfo=None),
        "Name": f"stand-in profile of {bundle}",
        "ProvisionedDevices": list(udids),
        "TeamIdentifier": [_TEAM],
        "TeamName": "Stand-in",
        "UUID": str(uuid.uuid4()),
        "Version": 1,
    }
    return _signed(plistlib.dumps(contents), now)


def _signed(data: bytes, now: datetime.datetime) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Stand-in signer")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + _LASTS)
        .sign(key, hashes.SHA256())
    )
    return (
        pkcs7.PKCS7SignatureBuilder()
        .set_data(data)
        .add_signer(certificate, key, hashes.SHA256())
        .sign(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary])
    )
