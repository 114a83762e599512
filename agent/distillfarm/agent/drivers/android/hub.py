"""Brings back a phone that stays away, by a command of the site's such as uhubctl's."""

import shlex
import subprocess
from collections.abc import Callable

import structlog

_TIMEOUT_S = 60.0

_log = structlog.get_logger(__name__)


def reviver(command: str, serial: str) -> Callable[[], None] | None:
    """What to call when the phone stays away; None without a command.

    ``command`` is a line of words, ``{serial}`` in it is the phone's. That it failed stands in the
    log and changes nothing: the phone is waited for all the same.
    """
    if not command:
        return None
    words = [word.replace("{serial}", serial) for word in shlex.split(command)]

    def revive() -> None:
        try:
            subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            _log.warning("reviving failed", device=serial, command=words[0], reason=str(error))

    return revive
