"""A lab of stand-in iPhones leaves nothing behind, however it ends, and is there by hand."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from iphone_fixtures import PROBE, lockdown, probe_package, services
from iphone_phone import IDENTITIES, NoPhone, lab
from pymobiledevice3.services.dvt.instruments.dvt_provider import DvtProvider
from pymobiledevice3.services.dvt.instruments.process_control import ProcessControl
from pymobiledevice3.services.installation_proxy import InstallationProxyService
from pymobiledevice3.usbmux import list_devices

STANDINS = Path(__file__).parents[1] / "standins"


@contextmanager
def by_hand() -> Iterator[tuple[subprocess.Popen[str], dict[str, str], list[str]]]:
    """A lab of two, the variables that it says, and its phones."""
    process = subprocess.Popen(
        [sys.executable, "-m", "iphone_phone", "--phones", "2"],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(STANDINS)},
        text=True,
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        if line.startswith("until"):
            break
        lines.append(line.strip())
    exports = [line.removeprefix("export ") for line in lines if line.startswith("export ")]
    variables = dict(each.split("=", 1) for each in exports)
    try:
        yield process, variables, [line.split()[0] for line in lines if "=" not in line]
    finally:
        process.kill()
        process.communicate()
        # Whoever is killed clears nothing away.
        shutil.rmtree(Path(variables["HOME"]).parent, ignore_errors=True)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_runs_on_after_a_lab(
    end: signal.Signals, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def use(udid: str) -> None:
        assert udid in {device.serial for device in await list_devices()}

    with by_hand() as (process, variables, udids):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert udids == [IDENTITIES[name].udid(1) for name in ("iphone_11", "iphone_15_pro")]
        asyncio.run(use(udids[0]))
        started = psutil.Process(process.pid).children(recursive=True)
        # usbmuxd and the phones.
        assert len(started) == 3
        process.send_signal(end)
        process.communicate(timeout=30)
        _, alive = psutil.wait_procs(started, timeout=10)
        assert alive == []
        if end is not signal.SIGKILL:
            assert not Path(variables["HOME"]).parent.exists()


def test_apps_and_tunnels_end_with_their_phone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def use() -> None:
        async with lockdown(phone) as client, InstallationProxyService(client) as apps:
            await apps.install_from_local(probe_package(phone, tmp_path), developer=True)
        async with services(phone) as tunnel, DvtProvider(tunnel) as dvt:
            async with ProcessControl(dvt) as control:
                await control.launch(PROBE, arguments=["wait"])
            running.extend(psutil.Process(phone.pid).children(recursive=True))
            phone.kill()

    running: list[psutil.Process] = []
    with lab(["iphone_15_pro"]) as one:
        (phone,) = one.phones
        for name, value in one.variables.items():
            monkeypatch.setenv(name, value)
        try:
            asyncio.run(asyncio.wait_for(use(), 60.0))
        finally:
            # The app, and the tunnel's network.
            assert len(running) >= 2
            _, alive = psutil.wait_procs(running, timeout=10)
            assert alive == []


def test_two_of_a_model_are_two_phones() -> None:
    with lab(["iphone_16", "iphone_16"]) as two:
        first, second = two.phones
        assert first.udid != second.udid
        assert two.listed() == {first.udid, second.udid}
    assert not two.folder.exists()


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(NoPhone, match="no phone nokia; there are iphone_11"), lab(["nokia"]):
        pass
