"""``distillfarm devices``: the lab's phones and computers, and taking them out of service."""

from typing import Annotated

import msgspec
import typer

from distillfarm.cli.connection import connected, run
from distillfarm.cli.console import output, say, show, write
from distillfarm.cli.device_tables import device_details, device_list
from distillfarm.cli.options import Connection, JsonOption, with_connection
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import Device, DeviceStatus

app = typer.Typer(
    no_args_is_help=True, help="List, name and label devices; take them out of service and back."
)

_DeviceId = Annotated[
    str, typer.Argument(metavar="DEVICE", help="Its id, or a name or serial that no other has.")
]
_STAYS = {
    DeviceStatus.QUARANTINED: "undraining does not release it; distillfarm devices release",
    DeviceStatus.DRAINED: "releasing does not undrain it; distillfarm devices undrain",
}


@app.command("list")
@with_connection
def list_devices(
    *,
    connection: Connection,
    selector: Annotated[
        str, typer.Option("--device", help="Selector, such as platform=ios.")
    ] = "*",
    as_json: JsonOption = False,
) -> None:
    """List devices with how they fare and what runs on them."""

    async def work() -> list[Device]:
        async with connected(connection) as client:
            return await client.devices(selector)

    devices = run(work())
    if as_json:
        write(msgspec.json.encode(devices))
    elif devices:
        output().print(device_list(devices))
    else:
        show("no devices; start an agent on the computer that they hang on: distillfarm agent")


@app.command("show")
@with_connection
def show_device(
    *, connection: Connection, device_id: _DeviceId, as_json: JsonOption = False
) -> None:
    """Show one device with its hardware, its health and its runtimes."""

    async def work() -> Device:
        async with connected(connection) as client:
            return await client.device(device_id)

    _print(run(work()), as_json)


@app.command()
@with_connection
def drain(
    *,
    connection: Connection,
    device_id: _DeviceId,
    note: Annotated[str, typer.Option(help="Why, for others to read.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Let a device finish what runs there and give it nothing more."""

    async def work() -> Device:
        async with connected(connection) as client:
            return await client.drain(device_id, note)

    _print(run(work()), as_json)


@app.command()
@with_connection
def undrain(*, connection: Connection, device_id: _DeviceId, as_json: JsonOption = False) -> None:
    """Give a drained device work again."""

    async def work() -> Device:
        async with connected(connection) as client:
            return await client.undrain(device_id)

    device = run(work())
    _print(device, as_json)
    _warn_if(device, DeviceStatus.QUARANTINED)


@app.command()
@with_connection
def quarantine(
    *,
    connection: Connection,
    device_id: _DeviceId,
    reason: Annotated[str, typer.Option(help="What is wrong with it, for others to read.")],
    as_json: JsonOption = False,
) -> None:
    """Hold a device for unfit until it is released; what runs there is finished."""

    async def work() -> Device:
        async with connected(connection) as client:
            return await client.quarantine(device_id, reason)

    _print(run(work()), as_json)


@app.command()
@with_connection
def release(*, connection: Connection, device_id: _DeviceId, as_json: JsonOption = False) -> None:
    """End a quarantine, whoever began it."""

    async def work() -> Device:
        async with connected(connection) as client:
            return await client.release(device_id)

    device = run(work())
    _print(device, as_json)
    _warn_if(device, DeviceStatus.DRAINED)


@app.command()
@with_connection
def name(
    *,
    connection: Connection,
    device_id: _DeviceId,
    new: Annotated[
        str, typer.Argument(metavar="NAME", help="No other device may have it; '' takes it away.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Give a device a name, by which every command and selector then knows it."""

    async def work() -> Device:
        async with connected(connection) as client:
            return await client.name_device(device_id, new)

    _print(run(work()), as_json)


@app.command()
@with_connection
def label(
    *,
    connection: Connection,
    device_id: _DeviceId,
    labels: Annotated[
        list[str] | None, typer.Argument(metavar="[LABEL]...", help="All that it is to have.")
    ] = None,
    add: Annotated[list[str] | None, typer.Option(help="Beside those it has.")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="From those it has.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Replace a device's labels, or change some; with neither labels nor options it has none."""
    if labels and (add or remove):
        raise InvalidRequest("give all labels, or --add and --remove, not both")

    async def work() -> Device:
        async with connected(connection) as client:
            kept: list[str] = list(labels or ())
            if add or remove:
                had = (await client.device(device_id)).labels
                kept = [each for each in (*had, *(add or ())) if each not in (remove or ())]
            return await client.label_device(device_id, list(dict.fromkeys(kept)))

    _print(run(work()), as_json)


@app.command()
@with_connection
def forgive(
    *,
    connection: Connection,
    digest: Annotated[
        str, typer.Argument(metavar="DIGEST", help="sha256:..., as the job's reason names it.")
    ],
) -> None:
    """Let a model be run again that took devices down and was stopped for that."""

    async def work() -> int:
        async with connected(connection) as client:
            return await client.forgive(digest)

    count = run(work())
    if count:
        show(f"{digest} took devices down {count} times; that is forgiven, it may be run again")
    else:
        show(f"{digest} took no device down, or that was forgiven before")


def _warn_if(device: Device, status: DeviceStatus) -> None:
    """Say that the device still gets no work, if it stays in a state that was not ended."""
    if device.status is status:
        say(f"{device.device_id} stays {status.value}: {_STAYS[status]} {device.device_id}")


def _print(device: Device, as_json: bool) -> None:
    if as_json:
        write(msgspec.json.encode(device))
    else:
        output().print(device_details(device))
