"""A stand-in phone for a benchmark, which is left out with a word where there can be none."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "standins"))

from android_phone import Lab, NoPhone, lab
from phone_programs import NoPrograms, ready_programs

IDENTITY = "pixel_8_pro"


@contextmanager
def phone_lab() -> Iterator[tuple[Lab, Path]]:
    """A lab of one phone, and the store of what it runs.

    Raises:
        SystemExit: with status 0, after a line that says what is missing here.
    """
    with ExitStack() as stack:
        try:
            started = stack.enter_context(lab([IDENTITY]))
            programs = ready_programs()
        except (NoPhone, NoPrograms) as error:
            print(f"left out, for there are no stand-in phones here: {error}")
            raise SystemExit(0) from error
        yield started, programs
