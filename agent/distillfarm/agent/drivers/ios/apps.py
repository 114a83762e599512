"""Which app an iPhone launches for us, and what its signed package says of itself."""

import plistlib
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from xml.parsers.expat import ExpatError

from distillfarm.agent.runners.program import APP
from distillfarm.domain.errors import InvalidRequest

BUNDLE, PROCESS = "org.distillfarm.runner", "DistillfarmRunner"
"""The app of ``agent/phone/ios``, where no package of it is named."""

_INFO = re.compile(r"^Payload/[^/]+\.app/Info\.plist$")
_PROFILE = re.compile(r"^Payload/[^/]+\.app/embedded\.mobileprovision$")
_PLIST = re.compile(rb"<\?xml.*?</plist>", re.DOTALL)
_LARGEST_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Package:
    """A signed .ipa: ``build`` is the app's own number; ``expires_at_s`` None where it never does.

    ``process`` is what its processes are called.
    """

    path: Path
    bundle: str
    build: str
    process: str
    expires_at_s: float | None = None


@dataclass(frozen=True)
class PhoneApp:
    """An app by its identifier; ``package`` is installed where the phone has another build.

    ``by_job`` is whether it takes job files and answers by them (see ``job_files``); others are
    launched with their arguments and heard by what they print.
    """

    bundle: str
    process: str
    package: Package | None = None
    by_job: bool = False


Apps = Mapping[str, PhoneApp]
"""By the name under which runners launch them."""


def read_package(path: Path) -> Package:
    """What a package is.

    Raises:
        InvalidRequest: it is no app's package.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            info = plistlib.loads(_member(archive, _INFO))
            profile = _PLIST.search(_member(archive, _PROFILE, optional=True))
        ends = plistlib.loads(profile[0]).get("ExpirationDate") if profile else None
        return Package(
            path=path,
            bundle=str(info["CFBundleIdentifier"]),
            build=str(info["CFBundleVersion"]),
            process=str(info["CFBundleExecutable"]),
            # A plist's dates are UTC and say nothing of it.
            expires_at_s=ends.replace(tzinfo=UTC).timestamp() if ends else None,
        )
    except (OSError, zipfile.BadZipFile, ExpatError, ValueError, KeyError, TypeError) as error:
        raise InvalidRequest(
            f"{path} is no signed app: {error}; export one as docs/iphone.md says"
        ) from error


def _member(archive: zipfile.ZipFile, name: re.Pattern[str], *, optional: bool = False) -> bytes:
    found = next((each for each in archive.infolist() if name.match(each.filename)), None)
    if found is None:
        if optional:
            return b""
        raise ValueError(f"no {name.pattern} in it")
    if found.file_size > _LARGEST_BYTES:
        raise ValueError(f"{found.filename} has {found.file_size} bytes")
    return archive.read(found)


def farm_app(package: Path | None) -> PhoneApp:
    """The app that measures, from its package where one is named.

    Raises:
        InvalidRequest: see ``read_package``.
    """
    if package is None:
        return PhoneApp(BUNDLE, PROCESS, by_job=True)
    read = read_package(package)
    return PhoneApp(read.bundle, read.process, read, by_job=True)


def farm_apps(package: Path | None) -> Apps:
    """What runners can launch."""
    return {APP: farm_app(package)}
