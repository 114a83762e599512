"""What a phone can launch: our runner and the makers' tools, from the store of runtimes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from distillfarm.agent.phone_runtimes import Flavour, PhoneRuntime, RuntimeStore, catalog
from distillfarm.agent.runners.program import APP
from distillfarm.domain.errors import InvalidRequest, MissingExtra

RUNNER = "distillfarm-runner"
TOOLS = ("benchmark_model", "onnxruntime_perf_test", "executor_runner")
_RUNTIME_ARGUMENT = "runtime="


@dataclass(frozen=True)
class App:
    """A program for a phone.

    ``files`` are all pushed, each to a folder of its own; ``program`` and ``library`` are among
    them. ``library`` is the one that the program loads by name, ``version`` that library's; None
    where it needs none.
    ``merged`` is whether its standard error is to come with its standard output: makers' tools
    write their figures to either.
    """

    program: Path
    files: tuple[Path, ...]
    library: Path | None = None
    version: str = ""
    merged: bool = False


Apps = Callable[[str, Sequence[str], str], App]
"""Takes an app's name, its arguments and the phone's flavour, such as ``bionic-aarch64``.

Raises InvalidRequest for an unknown name and MissingExtra for what was not fetched.
"""


def stored_apps(store: RuntimeStore) -> Apps:
    """The apps that the store has files of."""

    def find(name: str, arguments: Sequence[str], flavour: str) -> App:
        if name == APP:
            runtime = _stored(store, _runtime(arguments), flavour)
            runner = _stored(store, RUNNER, flavour)
            files = *runner.files, *runtime.files
            return App(runner.main, files, runtime.main, runtime.record.version)
        if name in TOOLS:
            tool = _stored(store, name, flavour)
            return App(tool.main, tool.files, merged=True)
        raise InvalidRequest(f"no program {name!r} here; there are {', '.join((APP, *TOOLS))}")

    return find


def _runtime(arguments: Sequence[str]) -> str:
    for argument in arguments:
        if argument.startswith(_RUNTIME_ARGUMENT):
            return argument.removeprefix(_RUNTIME_ARGUMENT)
    raise InvalidRequest(f"an order without {_RUNTIME_ARGUMENT}NAME")


def _stored(store: RuntimeStore, name: str, flavour: str) -> PhoneRuntime:
    if flavour not in list(Flavour):
        raise MissingExtra(f"there is no {name} for {flavour}, only for {', '.join(Flavour)}")
    found = store.find(name, Flavour(flavour))
    if found is None:
        raise MissingExtra(
            f"no {name} for {flavour} on the agent's computer; "
            f"{catalog.build(name, flavour).remedy}"
        )
    return found
