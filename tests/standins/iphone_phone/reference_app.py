"""The stand-in app of ``iphone_app`` in a package, as the driver installs it on a phone."""

import os
import shlex
import sys
from pathlib import Path

from iphone_phone.packages import App

BUNDLE, EXECUTABLE = "org.distillfarm.runner", "DistillfarmRunner"
_STANDINS = Path(__file__).parents[1]
# A shell that becomes the app, so that its process is the one that was launched.
_PROGRAM = """#!/bin/sh
export PYTHONPATH={path}
exec {python} -m iphone_app --container "$HOME" "$@"
"""


def reference_app() -> App:
    """The app; it runs in this process's Python, with what that can import."""
    path = os.pathsep.join([str(_STANDINS), *filter(None, sys.path)])
    program = _PROGRAM.format(path=shlex.quote(path), python=shlex.quote(sys.executable))
    return App(BUNDLE, program.encode(), EXECUTABLE)
