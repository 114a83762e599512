"""Gets a maker's package through pip's or npm's own client, as the site has set it up.

Indexes, mirrors, proxies, credentials and checks of hashes are the clients'.
"""

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from distillfarm.agent.phone_runtimes.catalog import Build, ByHand, Flavour, NpmPackage, PipPackage
from distillfarm.domain.errors import InvalidRequest, MissingExtra, NotFound, Unavailable

# A package of 150 MB over a slow line; both clients give up earlier on a line that is dead.
_TIMEOUT_S = 3600.0
# glibc 2.17 to 2.35, from CentOS 7 to Ubuntu 22.04.
_GLIBC_MINORS = range(35, 16, -1)
_VERSION = re.compile(r"-(\d[^-]*?)(-.*\.whl|\.tgz)$")
_PREFIX = re.compile(r"^(ERROR:|npm (ERR!|error))\s*")
_ABSENT = re.compile(r"No matching distribution|\bE404\b|\bETARGET\b|No matching version")
# What pip says of a socket while it tries again, and npm's names for the same.
_NO_ANSWER = re.compile(
    r"\[Errno -?\d+\] ([\w ]+)|Read timed out|ENOTFOUND|EAI_AGAIN|E[A-Z]*UNREACH|ECONNREFUSED"
    r"|ECONNRESET|ETIMEDOUT|Retrying(?= \()"
)
_REASON_CHARACTERS = 300

Report = Callable[[str], None]


@dataclass(frozen=True)
class Fetched:
    """An archive and where it came from, in words."""

    path: Path
    origin: str


@dataclass(frozen=True)
class _Order:
    """A client's command, run in an empty folder; it leaves one file there, like ``pattern``.

    ``by_hand`` is the same for a person at another computer. ``what`` names the package.
    """

    what: str
    command: tuple[str, ...]
    by_hand: str
    pattern: str


def fetch(
    build: Build, version: str, folder: Path, report: Report, *, terminal: bool = False
) -> Fetched:
    """Bring a build's archive into ``folder``; the newest where no ``version`` is named.

    ``terminal``: standard error is one, and the client may show its own progress there.

    Raises:
        InvalidRequest: no package has it; the text says how to get it.
        MissingExtra: the client is not installed.
        NotFound: the package has no such version for the flavour.
        Unavailable: the client failed otherwise, as without a network.
    """
    match build.source:
        case PipPackage(name):
            order = _pip(name, build.flavour, version)
        case NpmPackage(name):
            order = _npm(name, version)
        case ByHand():
            raise InvalidRequest(f"no package brings {build}; {build.remedy}")
    remedy = f"elsewhere `{order.by_hand}`, and here `distillfarm runtimes add {build} FILE`"
    _require_client(order, remedy)
    report(f"fetching {order.what} for {build.flavour}")
    folder.mkdir()
    _run(order, folder, remedy, terminal)
    archive = _only(folder, order.pattern)
    told = _VERSION.search(archive.name)
    return Fetched(archive, f"{order.what} {told[1] if told else version} ({archive.name})")


def _pip(package: str, flavour: Flavour, version: str) -> _Order:
    machine = flavour.removeprefix("glibc-")
    # pip takes a wheel for a platform that is named, not for older ones too.
    tags = [f"manylinux_2_{minor}_{machine}" for minor in _GLIBC_MINORS]
    platforms = [f"--platform={tag}" for tag in (*tags, f"manylinux2014_{machine}")]
    requirement = f"{package}=={version}" if version else package
    fixed = ("--no-deps", "--only-binary=:all:")
    quiet = ("--disable-pip-version-check", "--no-input", "--dest=.")
    return _Order(
        f"Python package {package}",
        (sys.executable, "-m", "pip", "download", *fixed, *quiet, *platforms, requirement),
        " ".join(
            ("pip download", *fixed, f"--platform=manylinux_2_28_{machine}", f"'{requirement}'")
        ),
        "*.whl",
    )


def _npm(package: str, version: str) -> _Order:
    requirement = f"{package}@{version}" if version else package
    return _Order(
        f"npm package {package}",
        ("npm", "pack", requirement, "--pack-destination=.", "--loglevel=error"),
        f"npm pack {requirement}",
        "*.tgz",
    )


def _require_client(order: _Order, remedy: str) -> None:
    client = order.command[0]
    if shutil.which(client) is None:
        raise MissingExtra(f"{client} is not installed here, which brings {order.what}; {remedy}")
    if client == sys.executable and importlib.util.find_spec("pip") is None:
        raise MissingExtra(f"pip is not installed; `{client} -m ensurepip`, or {remedy}")


def _run(order: _Order, folder: Path, remedy: str, terminal: bool) -> None:
    try:
        done = subprocess.run(
            order.command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            # Standard output has the command's results only.
            stdout=sys.stderr if terminal else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(
            f"{order.what} did not come within {_TIMEOUT_S / 60:.0f} min; {remedy}"
        ) from error
    if done.returncode != 0:
        absent, reason = diagnosis(done.stderr)
        if absent:
            raise NotFound(f"{reason}; name another --version, or {remedy}")
        raise Unavailable(f"{order.what} could not be fetched: {reason}; {remedy}")


def diagnosis(words: str) -> tuple[bool, str]:
    """From a client's errors: whether it has no such version, and what is wrong in one line."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    # Without an answer from the index, pip says too that there is no such package.
    unanswered = [found[1] or found[0] for found in _NO_ANSWER.finditer(words)]
    if unanswered:
        return False, f"the package index does not answer ({unanswered[-1]})"
    errors = [_PREFIX.sub("", line) for line in lines if _PREFIX.match(line)]
    # npm tells a code first, then the same in words.
    missing = [line for line in errors if _ABSENT.search(line)]
    telling = [*missing[-1:], *errors[-1:], *lines[-1:], "no word of why"][0]
    return bool(missing), telling[:_REASON_CHARACTERS]


def _only(folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise Unavailable(f"the client left {len(found)} files like {pattern}; fetch again")
    return found[0]
