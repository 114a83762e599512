"""The apps on a phone: what may be installed, where it lies, and what iOS says to the rest.

The words of refusals are those of installd and libmis, as developers quote them:
https://developer.apple.com/forums/thread/113888 and
https://github.com/doronz88/pymobiledevice3/issues
"""

import datetime
import plistlib
import shutil
import uuid
import zipfile
from dataclasses import dataclass
from pathlib import Path

from iphone_phone.identities import System
from iphone_phone.packages import PROFILE
from iphone_phone.wire import Plist

_FOLDERS = ("Documents", "Library/Caches", "Library/Preferences", "tmp")


class Refused(Exception):
    """Why a package is not installed: installd's error, and its description."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(error)
        self.error, self.description = error, description


@dataclass(frozen=True)
class Installed:
    """An app: its Info.plist, its folder of programs, its container, its profile."""

    info: Plist
    folder: Path
    container: Path
    profile: bytes
    ids: tuple[uuid.UUID, uuid.UUID]

    @property
    def bundle(self) -> str:
        """Its bundle identifier."""
        return str(self.info["CFBundleIdentifier"])

    @property
    def name(self) -> str:
        """What its processes are called."""
        return str(self.info["CFBundleExecutable"])

    @property
    def program(self) -> Path:
        """What runs."""
        return self.folder / self.name

    @property
    def path(self) -> str:
        """Where it lies, as the phone has it."""
        return f"/private/var/containers/Bundle/Application/{self._id(0)}/{self.name}.app"

    def _id(self, index: int) -> str:
        return str(self.ids[index]).upper()

    def told(self) -> Plist:
        """What installation_proxy tells of it."""
        entitlements = read_profile(self.profile)["Entitlements"]
        return {
            **self.info,
            "ApplicationType": "User",
            "Container": f"/private/var/mobile/Containers/Data/Application/{self._id(1)}",
            "Entitlements": entitlements,
            "Path": self.path,
            "SignerIdentity": "Apple Development: Stand-in (STANDIN123)",
        }


def read_profile(data: bytes) -> Plist:
    """The plist in a signed profile."""
    start, end = data.index(b"<?xml"), data.index(b"</plist>") + len(b"</plist>")
    contents: Plist = plistlib.loads(data[start:end])
    return contents


class Apps:
    """The apps in ``folder``, for the phone with this UDID."""

    def __init__(self, folder: Path, udid: str) -> None:
        self._folder, self._udid = folder, udid
        self._installed: dict[str, Installed] = {}

    def find(self, bundle: str) -> Installed | None:
        """The app, if it is installed."""
        return self._installed.get(bundle)

    def all(self) -> tuple[Installed, ...]:
        """Every app."""
        return tuple(self._installed.values())

    def install(self, package: Path, system: System) -> Installed:
        """Install or upgrade; an app's container outlives its upgrade.

        Raises:
            Refused: it is no package, or not signed for this phone.
        """
        staged = self._folder / "staged"
        shutil.rmtree(staged, ignore_errors=True)
        try:
            with zipfile.ZipFile(package) as archive:
                archive.extractall(staged)
        except (OSError, zipfile.BadZipFile) as error:
            raise Refused(
                "PackageExtractionFailed", f"Could not extract archive: {error}"
            ) from error
        unpacked = next(staged.glob("Payload/*.app"), None)
        if unpacked is None or not (unpacked / "Info.plist").exists():
            raise Refused("PackageInspectionFailed", "Failed to find Info.plist in the package")
        info = plistlib.loads((unpacked / "Info.plist").read_bytes())
        profile = self._check(unpacked, info, system)
        bundle = info["CFBundleIdentifier"]
        folder = self._folder / "bundles" / bundle
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        unpacked.rename(folder)
        (folder / info["CFBundleExecutable"]).chmod(0o755)
        app = Installed(
            info, folder, self._container(bundle), profile, (uuid.uuid4(), uuid.uuid4())
        )
        self._installed[bundle] = app
        return app

    def uninstall(self, bundle: str) -> None:
        """Remove the app and its files; idempotent."""
        if (app := self._installed.pop(bundle, None)) is not None:
            shutil.rmtree(app.folder)
            shutil.rmtree(app.container)

    def erase(self) -> None:
        """Remove every app."""
        for app in self.all():
            self.uninstall(app.bundle)

    def _check(self, unpacked: Path, info: Plist, system: System) -> bytes:
        def failed(words: str) -> Refused:
            return Refused("ApplicationVerificationFailed", words)

        if not (unpacked / "_CodeSignature").exists():
            raise failed(
                f"Failed to verify code signature of {unpacked.name} : 0xe800801c"
                " (No code signature found.)"
            )
        if not (unpacked / PROFILE).exists():
            raise failed(
                f"Failed to verify code signature of {unpacked.name} : 0xe8008015"
                " (A valid provisioning profile for this executable was not found.)"
            )
        profile = (unpacked / PROFILE).read_bytes()
        contents = read_profile(profile)
        if self._udid not in contents["ProvisionedDevices"]:
            raise failed(
                f"Failed to install embedded profile for {info['CFBundleIdentifier']} : 0xe8008012"
                " (This provisioning profile cannot be installed on this device.)"
            )
        if expired(contents):
            raise failed(
                f"Failed to install embedded profile for {info['CFBundleIdentifier']} : 0xe8008011"
                " (This provisioning profile has expired.)"
            )
        needed, there = (
            tuple(int(part) for part in version.split("."))
            for version in (info.get("MinimumOSVersion", "1.0"), system.version)
        )
        if needed > there:
            raise Refused(
                "DeviceOSVersionTooLow",
                f"The system version is lower than the minimum OS version specified for bundle"
                f" {info['CFBundleIdentifier']}. Have {system.version}; need"
                f" {info['MinimumOSVersion']}",
            )
        return profile

    def _container(self, bundle: str) -> Path:
        container = self._folder / "containers" / bundle
        for each in _FOLDERS:
            (container / each).mkdir(parents=True, exist_ok=True)
        return container


def expired(contents: Plist) -> bool:
    """Whether a profile's day has passed."""
    ends: datetime.datetime = contents["ExpirationDate"]
    return ends < datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
