"""Everything that goes wrong with an iPhone, as a client sees it, and that it passes."""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from iphone_fixtures import PROBE, lockdown, probe_package, services
from iphone_phone import Lab, NoPhone, Phone, Trust, lab
from pymobiledevice3.dtx import DTXNsError
from pymobiledevice3.exceptions import (
    ConnectionFailedToUsbmuxdError,
    InvalidServiceError,
    MuxException,
    NoDeviceConnectedError,
    PairingDialogResponsePendingError,
    PasswordRequiredError,
    PyMobileDevice3Exception,
    UserDeniedPairingError,
)
from pymobiledevice3.lockdown import create_using_usbmux
from pymobiledevice3.services.afc import AfcService
from pymobiledevice3.services.crash_reports import CrashReportsManager
from pymobiledevice3.services.diagnostics import DiagnosticsService
from pymobiledevice3.services.dvt.instruments.dvt_provider import DvtProvider
from pymobiledevice3.services.dvt.instruments.process_control import ProcessControl
from pymobiledevice3.services.house_arrest import HouseArrestService
from pymobiledevice3.services.installation_proxy import InstallationProxyService
from pymobiledevice3.services.mobile_image_mounter import MobileImageMounterService
from pymobiledevice3.usbmux import list_devices

_WAIT_S = 10.0
# What a client of a connection that was reset sees, by where it was.
_LOST = (PyMobileDevice3Exception, ConnectionError, asyncio.IncompleteReadError, OSError)


async def listed() -> dict[str, int]:
    return {device.serial: device.devid for device in await list_devices()}


async def until_listed(phone: Phone) -> None:
    async with asyncio.timeout(_WAIT_S):
        while phone.udid not in await listed():  # noqa: ASYNC110 - usbmuxd is another process
            await asyncio.sleep(0.02)


async def install(phone: Phone, folder: Path) -> None:
    async with lockdown(phone) as client, InstallationProxyService(client) as apps:
        await apps.install_from_local(probe_package(phone, folder), developer=True)


async def launch(provider: Any, *arguments: str) -> int:
    async with DvtProvider(provider) as dvt, ProcessControl(dvt) as control:
        pid: int = await control.launch(PROBE, arguments=list(arguments))
        return pid


async def in_time(work: Awaitable[Any], limit_s: float = _WAIT_S) -> float:
    """How long it took to fail as a lost connection does."""
    began_s = time.monotonic()
    with pytest.raises(_LOST):
        await asyncio.wait_for(work, limit_s)
    return time.monotonic() - began_s


async def test_the_dialog_of_trust_waits_for_its_answer(iphone_lab: Lab, iphone: Phone) -> None:
    iphone_lab.forget_records()
    iphone.change(trust=Trust.PENDING)
    with pytest.raises(PairingDialogResponsePendingError):
        await create_using_usbmux(serial=iphone.udid, pair_timeout=0)
    client = await create_using_usbmux(serial=iphone.udid, autopair=False)
    assert not client.paired
    await client.close()
    iphone.change(trust=Trust.DENIED)
    with pytest.raises(UserDeniedPairingError):
        await create_using_usbmux(serial=iphone.udid, pair_timeout=0)
    iphone.change(trust=Trust.GRANTED)
    async with lockdown(iphone) as client:
        assert client.paired


async def test_a_phone_forgets_its_computer_and_is_paired_anew(old_iphone: Phone) -> None:
    async with lockdown(old_iphone):
        pass
    old_iphone.forget_hosts()
    client = await create_using_usbmux(serial=old_iphone.udid, autopair=False)
    assert not client.paired
    await client.close()
    async with lockdown(old_iphone) as client:
        assert client.paired


async def test_a_locked_phone_shows_and_starts_nothing(iphone: Phone, tmp_path: Path) -> None:
    await install(iphone, tmp_path)
    async with services(iphone) as provider:
        iphone.change(locked=True)
        assert await provider.get_value(key="PasswordProtected") is True
        with pytest.raises((PasswordRequiredError, PyMobileDevice3Exception)):
            await HouseArrestService.create(provider, PROBE)
        with pytest.raises(DTXNsError, match="unlocked"):
            await launch(provider)
        iphone.change(locked=False)
        async with await HouseArrestService.create(provider, PROBE) as container:
            assert "Documents" in await container.listdir("/")
        assert await launch(provider) > 0


async def test_developer_mode_and_the_users_trust_in_the_signer_are_needed(
    iphone: Phone, tmp_path: Path
) -> None:
    await install(iphone, tmp_path)
    async with services(iphone) as provider:
        iphone.change(developer_mode=False)
        assert await provider.get_developer_mode_status() is False
        with pytest.raises(DTXNsError, match="Developer Mode is disabled"):
            await launch(provider)
        iphone.change(developer_mode=True, user_trusts_developer=False)
        with pytest.raises(DTXNsError, match="explicitly trusted by the user"):
            await launch(provider)
        iphone.change(user_trusts_developer=True)
        assert await launch(provider) > 0


async def test_without_its_image_a_phone_has_no_instruments(iphone: Phone, tmp_path: Path) -> None:
    await install(iphone, tmp_path)
    iphone.change(image_mounted=False)
    with pytest.raises(InvalidServiceError):
        async with services(iphone) as provider:
            await launch(provider)
    async with lockdown(iphone) as client, MobileImageMounterService(client) as mounter:
        kind = "Personalized" if iphone.identity.system.personalizes else "Developer"
        iphone.change(locked=True)
        with pytest.raises(PyMobileDevice3Exception, match="locked"):
            await mounter.mount_image(kind, b"signature")
        iphone.change(locked=False)
        await mounter.mount_image(kind, b"signature")
    async with services(iphone) as provider:
        assert await launch(provider) > 0


async def test_a_pulled_cable_resets_everything_and_takes_the_phone_off_the_list(
    iphone: Phone,
) -> None:
    numbers = await listed()
    async with lockdown(iphone) as client, AfcService(client) as files:
        sending = asyncio.create_task(files.set_file_contents("/x", os.urandom(50_000_000)))
        await asyncio.sleep(0.2)
        iphone.pull_cable()
        assert await in_time(sending) < 2
        assert iphone.udid not in await listed()
        with pytest.raises((NoDeviceConnectedError, PyMobileDevice3Exception)):
            await create_using_usbmux(serial=iphone.udid)
    iphone.plug_in()
    await until_listed(iphone)
    assert (await listed())[iphone.udid] not in numbers.values()
    async with lockdown(iphone) as client:
        assert await client.get_value(key="UniqueDeviceID") == iphone.udid


@pytest.mark.parametrize("received_bytes", [0, 1_000_000])
async def test_a_cable_can_go_at_any_point_of_a_transfer(
    old_iphone: Phone, received_bytes: int
) -> None:
    async with lockdown(old_iphone) as client:
        old_iphone.pull_cable_after("com.apple.afc", received_bytes)
        async with AfcService(client) as files:
            await in_time(files.set_file_contents("/Downloads/x", os.urandom(10_000_000)))
    assert old_iphone.udid not in await listed()


async def test_a_silent_service_takes_connections_and_answers_when_it_wakes(
    iphone: Phone,
) -> None:
    async def charge(provider: Any) -> int:
        async with DiagnosticsService(provider) as diagnostics:
            battery = await diagnostics.get_battery()
            assert battery is not None
            percent: int = battery["CurrentCapacity"]
            return percent

    iphone.change(silent=frozenset({"com.apple.mobile.diagnostics_relay"}))
    async with services(iphone) as provider:
        asking = asyncio.create_task(charge(provider))
        done, _ = await asyncio.wait((asking,), timeout=1.0)
        assert not done
        # The others speak.
        assert await provider.get_value(key="ProductType")
        assert iphone.udid in await listed()
        iphone.change(silent=frozenset())
        assert await asyncio.wait_for(asking, _WAIT_S) == 84


async def test_a_silent_lockdown_hangs_who_asks(iphone: Phone) -> None:
    iphone.change(silent=frozenset({"lockdown"}))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(create_using_usbmux(serial=iphone.udid), 1.0)
    assert iphone.udid in await listed()
    iphone.change(silent=frozenset())
    async with lockdown(iphone) as client:
        assert client.paired


async def test_a_refused_service_is_none_that_the_phone_knows(old_iphone: Phone) -> None:
    old_iphone.change(refused=frozenset({"com.apple.afc"}))
    async with lockdown(old_iphone) as client:
        with pytest.raises(InvalidServiceError):
            await AfcService(client).listdir("/")
        old_iphone.change(refused=frozenset())
        assert "Downloads" in await AfcService(client).listdir("/")


async def test_a_tunnel_dies_and_the_next_one_stands(new_iphone: Phone, tmp_path: Path) -> None:
    await install(new_iphone, tmp_path)
    async with services(new_iphone) as tunnel:
        async with DvtProvider(tunnel) as dvt, ProcessControl(dvt) as control:
            pid = await control.launch(PROBE, arguments=["wait"])
            new_iphone.cut_tunnel()
            await in_time(control.process_identifier_for_bundle_identifier(PROBE))
        assert new_iphone.udid in await listed()
    async with (
        services(new_iphone) as tunnel,
        DvtProvider(tunnel) as dvt,
        ProcessControl(dvt) as control,
    ):
        # The app outlived it.
        assert await control.process_identifier_for_bundle_identifier(PROBE) == pid


async def test_usbmuxd_restarts_and_keeps_whom_it_is_paired_with(
    iphone_lab: Lab, iphone: Phone
) -> None:
    async with lockdown(iphone) as client:
        iphone_lab.kill_muxd()
        assert await in_time(client.get_value(key="ProductType")) < 2
    with pytest.raises((ConnectionFailedToUsbmuxdError, MuxException)):
        await list_devices()
    iphone_lab.start_muxd()
    iphone_lab.wait_listed()
    client = await create_using_usbmux(serial=iphone.udid, autopair=False)
    assert client.paired
    await client.close()


async def test_an_update_changes_the_build_and_takes_the_image(
    iphone: Phone, tmp_path: Path
) -> None:
    await install(iphone, tmp_path)
    before = iphone.identity.system
    iphone.update("18.6", "22G86")
    await until_listed(iphone)
    async with lockdown(iphone) as client:
        assert await client.get_value(key="BuildVersion") == "22G86" != before.build
        async with MobileImageMounterService(client) as mounter:
            assert not await mounter.is_image_mounted("Personalized")
        async with InstallationProxyService(client) as apps:
            assert PROBE in await apps.get_apps(bundle_identifiers=[PROBE])
    iphone.heal()
    await until_listed(iphone)
    async with lockdown(iphone) as client:
        assert await client.get_value(key="BuildVersion") == before.build


async def test_an_app_that_eats_too_much_is_killed_and_reported(
    iphone: Phone, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    await install(iphone, tmp_path)
    async with services(iphone) as provider:
        async with DvtProvider(provider) as dvt, ProcessControl(dvt) as control:
            pid = await control.launch(PROBE, arguments=["wait"])
            await asyncio.to_thread(iphone.jetsam, PROBE)
            assert await control.process_identifier_for_bundle_identifier(PROBE) == 0
        assert f"PID {pid} terminated with exit code None or crashing signal 9" in caplog.text
        async with CrashReportsManager(provider) as crashes:
            (name,) = await crashes.ls()
            report = await crashes.parse(name)
    assert name.startswith("/JetsamEvent-")
    assert str(report.bug_type.value) == "298"
    with pytest.raises(NoPhone, match="does not run"):
        iphone.jetsam(PROBE)


def test_an_empty_battery_ends_a_phone_like_a_pulled_cable() -> None:
    with lab(["iphone_11", "iphone_16"]) as two:
        two.phones[0].kill()
        ends_s = time.monotonic() + _WAIT_S
        while two.listed() != {two.phones[1].udid}:
            assert time.monotonic() < ends_s
            time.sleep(0.02)


def test_healing_undoes_every_fault_at_once(iphone_lab: Lab, iphone: Phone) -> None:
    iphone.change(locked=True, image_mounted=False, silent=frozenset({"lockdown"}))
    iphone.pull_cable()
    iphone_lab.kill_muxd()
    iphone_lab.heal()

    async def read() -> Any:
        async with lockdown(iphone) as client:
            return await client.get_value(key="PasswordProtected")

    assert asyncio.run(asyncio.wait_for(read(), _WAIT_S)) is False
