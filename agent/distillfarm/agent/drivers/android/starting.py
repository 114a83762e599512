"""How a program with its files becomes a job on a phone."""

import secrets
import shlex
from collections.abc import Mapping, Sequence

from adbutils import AdbDevice

from distillfarm.agent.drivers.android import jobs
from distillfarm.agent.drivers.android.apps import App
from distillfarm.agent.drivers.android.jobs import Job
from distillfarm.agent.drivers.android.run import OUTPUT_BYTES


class Beginning:
    """Starts a job in a new folder below ``above``; what an attempt before may have started ends.

    For ``PhoneLine.ask``, which repeats it when nobody knows how far it came.
    """

    def __init__(self, above: str, command: str, timeout_s: float) -> None:
        self._above, self._command, self._timeout_s = above, command, timeout_s
        self._tried = False

    def __call__(self, device: AdbDevice) -> Job:
        """See ``jobs.start``."""
        if self._tried:
            jobs.end_all(device, self._above)
        self._tried = True
        folder = f"{self._above}/{secrets.token_hex(6)}"
        return jobs.start(device, folder, self._command, self._timeout_s, OUTPUT_BYTES)


def command(
    program: App,
    paths: Sequence[str],
    arguments: Sequence[str],
    environment: Mapping[str, str],
) -> str:
    """The line of shell that runs a program in its job's folder.

    Its files are linked there, each from the folder of its digest: libraries look for others
    beside themselves.
    """
    links = " ".join(shlex.quote(path) for path in paths)
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
    words = " ".join(map(shlex.quote, arguments))
    if program.library is not None:
        version = shlex.quote(f"version={program.version}")
        words += f' library="$PWD"/{shlex.quote(program.library.name)} {version}'
    # Assignments before exec are not exported by every shell.
    return (
        f'ln -s {links} . && exec env LD_LIBRARY_PATH="$PWD" {variables} '
        f'"$PWD"/{shlex.quote(program.program.name)} {words}{" 2>&1" if program.merged else ""}'
    )
