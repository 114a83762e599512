"""The sandboxed end of a task: reads the request, calls the function, writes the answer."""

import errno
import importlib
import inspect
import os
import sys
import typing
from collections.abc import Callable
from pathlib import Path

import msgspec

from distillfarm.domain.errors import FarmError
from distillfarm.sandbox import wire
from distillfarm.sandbox.text import one_line

_NO_DISK = {errno.EFBIG, errno.ENOSPC, errno.EDQUOT}
_MAX_ERROR_CHARACTERS = 1000


def main() -> None:
    """Do the task named by the first argument, with the request in the current folder."""
    report = _progress_on_stdout()
    Path(wire.ANSWER_FILE).write_bytes(msgspec.json.encode(_answer(sys.argv[1], report)))
    # Frameworks' own clean-up at exit may hang or crash; the answer is safe.
    sys.stderr.flush()
    os._exit(0)


def _answer(task: str, report: Callable[[float, str], None]) -> wire.Answer:
    try:
        return wire.Done(msgspec.Raw(msgspec.json.encode(_call(task, report))))
    except FarmError as error:
        return wire.Failed(wire.kind_of(error), one_line(str(error), _MAX_ERROR_CHARACTERS))
    except MemoryError:
        return wire.NoMemory()
    except OSError as error:
        if error.errno == errno.ENOMEM:
            return wire.NoMemory()
        if error.errno in _NO_DISK:
            return wire.NoDisk()
        raise


def _call(task: str, report: Callable[[float, str], None]) -> object:
    module, _, name = task.partition(":")
    function = getattr(importlib.import_module(module), name)
    first = next(iter(inspect.signature(function).parameters))
    request_type = typing.get_type_hints(function)[first]
    request = msgspec.json.decode(Path(wire.REQUEST_FILE).read_bytes(), type=request_type)
    return function(request, report)


def _progress_on_stdout() -> Callable[[float, str], None]:
    """Keep standard output for progress; whatever else prints goes to standard error."""
    lines = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)

    def report(fraction: float, text: str) -> None:
        lines.write(msgspec.json.encode(wire.Progress(fraction, one_line(text))) + b"\n")

    return report


if __name__ == "__main__":
    main()
