"""A PostgreSQL server of our own for the time of a test run."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

URL_VARIABLE = "DISTILLFARM_TEST_POSTGRES_URL"


class NoServer(Exception):
    """Why there is no server here."""


@contextmanager
def postgres_url() -> Iterator[str]:
    """The URL of an empty database: the one that the environment names, or one started here.

    Raises:
        NoServer: there is none, and what is missing.
    """
    if named := os.environ.get(URL_VARIABLE):
        yield named
        return
    programs = _programs()
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as name:
        # A socket's path may have 107 bytes, so not under the test's own long folder.
        folder = Path(name)
        as_owner: list[str] = []
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            as_owner = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]
            shutil.chown(folder, "nobody", "nogroup")
        data = folder / "data"

        def run(*command: str) -> None:
            done = subprocess.run(
                [*as_owner, *command], capture_output=True, text=True, check=False, cwd=folder
            )
            if done.returncode:
                raise NoServer(f"{Path(command[0]).name}: {done.stderr.strip() or done.stdout}")

        run(str(programs / "initdb"), "-D", str(data), "-U", "postgres", "--auth=trust", "-N")
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        control = str(programs / "pg_ctl")
        run(control, "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
        try:
            yield f"postgresql://postgres@/postgres?host={folder}"
        finally:
            run(control, "-D", str(data), "-m", "immediate", "-w", "stop")


def _programs() -> Path:
    found = [Path(which).resolve().parent] if (which := shutil.which("initdb")) else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in found:
        if (folder / "initdb").is_file() and (folder / "pg_ctl").is_file():
            return folder
    raise NoServer(f"no initdb here: install PostgreSQL, or set {URL_VARIABLE}")
