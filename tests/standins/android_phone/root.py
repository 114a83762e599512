"""A phone's read-only files: AOSP's adbd, mksh and toybox for arm64 as Debian packages them.

Built once for every recipe into a cache outside of the repository, from the mirror that this
computer's apt uses already.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from android_phone import needs
from android_phone.needs import NoPhone

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_DOWNLOAD_S = 300.0
# What Android has and Debian's toybox is built without; Android's awk is the original one, too.
_MORE_TOOLS = {
    "awk": "original-awk",
    **dict.fromkeys(("dd", "diff", "expr", "gzip", "tr"), "busybox"),
}


@dataclass(frozen=True)
class Recipe:
    """What a root is made of; a changed recipe is another folder in the cache.

    The emulator is not the newest: from 8.2 on qemu answers /proc/cpuinfo itself, and a phone
    could not have its own cores. ``revision`` counts changes of the layout below.
    """

    suite: str = "trixie"
    packages: tuple[str, ...] = (
        "adbd",
        "mksh",
        "toybox",
        "busybox-static",
        "original-awk",
        "libstdc++6",
    )
    emulator_suite: str = "bookworm"
    emulator_package: str = "qemu-user-static"
    revision: int = 2

    @property
    def digest(self) -> str:
        """The recipe's name in the cache."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Root:
    """A built root: ``files`` is the phone's /, ``emulator`` runs its programs on this computer."""

    files: Path
    emulator: Path


def cache_folder() -> Path:
    """Where roots are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "distillfarm" / "android-phone"


def ready_root(cache: Path | None = None, recipe: Recipe | None = None) -> Root:
    """The root of the recipe; built where the cache does not hold it, by one builder at a time.

    Raises:
        NoPhone: it cannot be built here, and why.
    """
    needs.check()
    recipe = recipe or Recipe()
    folder = (cache or cache_folder()) / recipe.digest
    root = Root(folder / "root", folder / "qemu-aarch64")
    if folder.is_dir():
        return root
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.with_suffix(".lock")):
        if not folder.is_dir():
            partial = Path(tempfile.mkdtemp(prefix=f"{recipe.digest}.", dir=folder.parent))
            try:
                _build(partial, recipe)
                partial.chmod(0o755)
                partial.rename(folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return root


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(folder: Path, recipe: Recipe) -> None:
    root, emulator = folder / "root", folder / "qemu-aarch64"
    _lay_folders(root)
    for package in _download(folder / "arm64", recipe.suite, "arm64", recipe.packages):
        needs.run(["dpkg-deb", "-x", package, root])
    architecture = needs.run(["dpkg", "--print-architecture"]).strip()
    (package,) = _download(
        folder / "emulator", recipe.emulator_suite, architecture, (recipe.emulator_package,)
    )
    _unpack_one(package, "./usr/bin/qemu-aarch64-static", emulator)
    _lay_tools(root, emulator)
    for leftover in (folder / "arm64", folder / "emulator", root / "usr/share/doc"):
        shutil.rmtree(leftover)


def _download(
    folder: Path, suite: str, architecture: str, packages: tuple[str, ...]
) -> tuple[Path, ...]:
    """Packages with what they depend on, their signatures checked by apt."""
    if not _KEYRING.is_file():
        raise NoPhone(f"no {_KEYRING}: install the Debian package debian-archive-keyring")
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(f"deb [signed-by={_KEYRING}] {_mirror()} {suite} main\n")
    settings = {
        "Dir::State::Lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::Etc::preferences": "-",
        "Dir::Etc::preferencesparts": "-",
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Debug::NoLocking": "1",
    }
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in settings.items())]
    needs.run([*apt, "update"], _DOWNLOAD_S)
    needs.run(
        [*apt, "install", "--yes", "--download-only", "--no-install-recommends", *packages],
        _DOWNLOAD_S,
    )
    return tuple(sorted((folder / "cache/archives").glob("*.deb")))


def _mirror() -> str:
    """The Debian mirror of this computer."""
    told = needs.run(["apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)"])
    for line in told.splitlines():
        origin, label, address = [*line.split(), "", "", ""][:3]
        if (origin, label) == ("Debian", "Debian"):
            return address
    raise NoPhone("apt knows no Debian mirror here: run apt-get update, on Debian")


def _unpack_one(package: Path, member: str, target: Path) -> None:
    """One file of a package that would unpack to hundreds of megabytes."""
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE
    ) as unpacking:
        assert unpacking.stdout is not None
        with tarfile.open(fileobj=unpacking.stdout, mode="r|") as archive:
            for each in archive:
                source = archive.extractfile(each) if each.name == member else None
                if source is not None:
                    with target.open("wb") as file:
                        shutil.copyfileobj(source, file)
                    break
        unpacking.kill()
    if not target.exists():
        raise NoPhone(f"{package.name} holds no {member}; mend the recipe")
    target.chmod(0o755)


def _lay_folders(root: Path) -> None:
    for name in ("bin", "lib", "sbin", "lib64"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for name in (
        "data/local/tmp",
        "dev",
        "etc",
        "proc",
        "sdcard/Download",
        "standin",
        "sys",
        "system/bin",
        "tmp",
        "vendor/lib64",
    ):
        (root / name).mkdir(parents=True)


def _lay_tools(root: Path, emulator: Path) -> None:
    """Android's shell and tools at Android's places, under Android's user."""
    (root / "usr/bin/sh").unlink(missing_ok=True)
    (root / "usr/bin/sh").symlink_to("mksh")
    tools = root / "system/bin"
    (tools / "sh").symlink_to("/usr/bin/mksh")
    for tool in needs.run([emulator, "-L", root, root / "usr/bin/toybox"]).split():
        if not (tools / tool).is_symlink():
            (tools / tool).symlink_to("/usr/bin/toybox")
    for tool, program in _MORE_TOOLS.items():
        (tools / tool).symlink_to(f"/usr/bin/{program}")
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nshell:x:2000:2000::/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nshell:x:2000:\n")
