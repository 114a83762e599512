"""``distillfarm devices``: the lab's phones and computers, and taking them out of service."""

from typing import Annotated

import msgspec
import typer

from distillfarm.cli import formats
from distillfarm.cli.connection import connected, run
from distillfarm.cli.console import output, row, show, table, write
from distillfarm.cli.options import Connection, JsonOption, with_connection
from distillfarm.domain.hardware import Device

app = typer.Typer(no_args_is_help=True, help="List devices; take them out of service and back.")

_DeviceId = Annotated[str, typer.Argument(metavar="ID")]


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
    """List devices with what runs on them."""

    async def work() -> list[Device]:
        async with connected(connection) as client:
            return await client.devices(selector)

    devices = run(work())
    if as_json:
        write(msgspec.json.encode(devices))
    else:
        _print_list(devices)


@app.command("show")
@with_connection
def show_device(
    *, connection: Connection, device_id: _DeviceId, as_json: JsonOption = False
) -> None:
    """Show one device with its runtimes."""

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

    _print(run(work()), as_json)


def _print_list(devices: list[Device]) -> None:
    if not devices:
        show("no devices; start an agent on the computer that they hang on: distillfarm agent")
        return
    made = table(
        "", "id", "status", "platform", "model", "chipset", "system", "runs", "labels", "note"
    )
    for device in devices:
        info = device.info
        row(
            made,
            device.device_id,
            device.status.value,
            info.platform.value + (" (emulated)" if info.emulated else ""),
            info.model,
            str(info.chipset),
            info.os_name,
            ", ".join(str(each.target) for each in info.runtimes if each.works) or "nothing",
            ", ".join(device.labels),
            device.note,
        )
    output().print(made)


def _print(device: Device, as_json: bool) -> None:
    if as_json:
        write(msgspec.json.encode(device))
        return
    info = device.info
    facts = (
        ("id", device.device_id),
        ("agent", device.agent_id),
        ("status", f"{device.status.value}{f': {device.note}' if device.note else ''}"),
        ("last seen", formats.moment(device.last_seen_s)),
        ("platform", info.platform.value + (" (emulated)" if info.emulated else "")),
        ("model", info.model),
        ("chipset", str(info.chipset)),
        ("system", f"{info.os_name}, build {info.os_build}"),
        ("cores", str(info.cores)),
        ("memory", formats.byte_count(info.memory_bytes)),
        ("labels", ", ".join(device.labels) or "none"),
    )
    made = table("", "", "")
    made.show_header = False
    for name, value in facts:
        row(made, name, value)
    runtimes = table("Runtimes", "target", "version", "works")
    for each in info.runtimes:
        row(
            runtimes, str(each.target), each.version, "yes" if each.works else f"no: {each.refusal}"
        )
    output().print(made, runtimes, sep="\n\n")
