"""``distillfarm runtimes``: the programs and runtimes for the phones on this computer."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from distillfarm.cli import formats
from distillfarm.cli.console import output, row, say, show, table, write
from distillfarm.cli.failures import ExitCode, extra
from distillfarm.cli.options import DEFAULT_STATE_DIR, JsonOption, StateDirOption
from distillfarm.cli.servers import configure
from distillfarm.domain.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from distillfarm.agent.phone_runtimes import PhoneRuntime, RuntimeStore

app = typer.Typer(
    no_args_is_help=True, help="Fetch, add and check what phones run; measuring needs no network."
)

_Name = Annotated[str, typer.Argument(metavar="NAME", help="Such as onnxruntime or litert.")]
_Flavour = Annotated[
    str, typer.Argument(metavar="FLAVOUR", help="Such as bionic-aarch64, which is Android.")
]
_RuntimesDirOption = Annotated[
    Path | None,
    typer.Option(
        envvar="DISTILLFARM_AGENT_RUNTIMES_DIR",
        help="A folder that several agents share. Default: the agent's own in --state-dir.",
    ),
]
_Replace = Annotated[
    bool, typer.Option("--replace", help="Take the place of the same version with other content.")
]
_DIGEST_CHARACTERS = 12


@app.command("list")
def list_runtimes(
    *,
    state_dir: StateDirOption = DEFAULT_STATE_DIR,
    runtimes_dir: _RuntimesDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what is there, with its origin."""
    store = _store(state_dir, runtimes_dir)
    found = store.entries()
    if as_json:
        write(msgspec.json.encode([each.record for each in found]))
        return
    if not found:
        show(f"nothing in {store.folder}; distillfarm runtimes fetch onnxruntime bionic-aarch64")
        return
    made = table(
        "", "name", "flavour", "version", "size", "SHA-256", "since", "origin", right=("size",)
    )
    for each in found:
        record = each.record
        row(
            made,
            record.name,
            record.flavour,
            record.version,
            formats.byte_count(record.size_bytes),
            record.files[0].sha256[:_DIGEST_CHARACTERS],
            f"{record.kept_at.astimezone():%Y-%m-%d %H:%M}",
            record.origin.description,
        )
    output().print(made)


@app.command()
def fetch(
    name: _Name,
    flavour: _Flavour,
    *,
    version: Annotated[
        str, typer.Option(metavar="VERSION", help="Of the package; default: the newest.")
    ] = "",
    replace: _Replace = False,
    state_dir: StateDirOption = DEFAULT_STATE_DIR,
    runtimes_dir: _RuntimesDirOption = None,
) -> None:
    """Get a runtime from its makers' package, through pip or npm as they are set up here."""
    store = _store(state_dir, runtimes_dir)
    with extra("agent"):
        from distillfarm.agent.phone_runtimes import catalog, fetching, intake  # noqa: PLC0415
    build = catalog.build(name, flavour)
    with store.writing() as scratch:
        fetched = fetching.fetch(
            build, version, scratch / "fetched", say, terminal=sys.stderr.isatty()
        )
        admission = intake.Admission(origin=fetched.origin, replace=replace)
        _show(intake.admit(store, build, [fetched.path], scratch, admission))


@app.command()
def add(
    name: _Name,
    flavour: _Flavour,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="The binary, or an .aar, .whl, .zip or .tgz with it; then what belongs beside it.",
            exists=True,
            dir_okay=False,
        ),
    ],
    *,
    version: Annotated[
        str, typer.Option(metavar="VERSION", help="Default: what the file tells.")
    ] = "",
    origin: Annotated[
        str, typer.Option(metavar="TEXT", help="Where it came from, for others to read.")
    ] = "",
    replace: _Replace = False,
    state_dir: StateDirOption = DEFAULT_STATE_DIR,
    runtimes_dir: _RuntimesDirOption = None,
) -> None:
    """Keep a program or runtime from a file: one built here, or brought from elsewhere."""
    store = _store(state_dir, runtimes_dir)
    with extra("agent"):
        from distillfarm.agent.phone_runtimes import catalog, intake  # noqa: PLC0415
    admission = intake.Admission(version, origin, replace)
    build = catalog.build(name, flavour)
    with store.writing() as scratch:
        _show(intake.admit(store, build, files, scratch, admission))


@app.command()
def remove(
    name: _Name,
    flavour: _Flavour,
    *,
    version: Annotated[
        str, typer.Option(metavar="VERSION", help="Needed where several are there.")
    ] = "",
    state_dir: StateDirOption = DEFAULT_STATE_DIR,
    runtimes_dir: _RuntimesDirOption = None,
) -> None:
    """Delete a program or runtime."""
    store = _store(state_dir, runtimes_dir)
    with extra("agent"):
        from distillfarm.agent.phone_runtimes import catalog  # noqa: PLC0415
    build = catalog.build(name, flavour)
    there = store.versions(name, build.flavour)
    if not there:
        raise NotFound(f"no {build} in {store.folder}; distillfarm runtimes list shows what is")
    if not version and len(there) > 1:
        raise InvalidRequest(f"there are {', '.join(there)}; name one by --version")
    store.remove(name, build.flavour, version or there[0])
    show(f"removed {build} {version or there[0]}")


@app.command()
def verify(
    *,
    state_dir: StateDirOption = DEFAULT_STATE_DIR,
    runtimes_dir: _RuntimesDirOption = None,
) -> None:
    """Read every file again; exit code 1 and one line for each that is not as it was kept."""
    store = _store(state_dir, runtimes_dir)
    spoiled = tuple(store.spoiled())
    for line in spoiled:
        show(line)
    if spoiled:
        raise typer.Exit(ExitCode.ERROR)
    show(f"{len(store.entries())} in {store.folder}, all as they were kept")


def _store(state_dir: Path, runtimes_dir: Path | None) -> "RuntimeStore":
    with extra("agent"):
        from distillfarm.agent.phone_runtimes import RuntimeStore  # noqa: PLC0415
        from distillfarm.agent.settings import AgentSettings  # noqa: PLC0415
    settings = configure(AgentSettings, state_dir=state_dir, runtimes_dir=runtimes_dir)
    return RuntimeStore(settings.runtimes)


def _show(kept: "PhoneRuntime") -> None:
    record = kept.record
    show(
        f"{record.name} {record.version} for {record.flavour}: "
        f"{formats.byte_count(record.size_bytes)}, SHA-256 "
        f"{record.files[0].sha256[:_DIGEST_CHARACTERS]}, from {record.origin.description}"
    )
