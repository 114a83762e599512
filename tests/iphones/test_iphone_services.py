"""What unmodified pymobiledevice3 finds on a stand-in iPhone: facts, files, apps, logs."""

import asyncio
import datetime
import os
from pathlib import Path

import pytest
from iphone_fixtures import PROBE, lockdown, probe_package, services
from iphone_phone import App, Lab, Phone, write_package
from pymobiledevice3.exceptions import (
    AfcException,
    AfcFileNotFoundError,
    AppInstallError,
    AppNotInstalledError,
    GetProhibitedError,
    MissingValueError,
)
from pymobiledevice3.irecv_devices import IRECV_DEVICES
from pymobiledevice3.lockdown import create_using_usbmux
from pymobiledevice3.services.afc import AfcService
from pymobiledevice3.services.diagnostics import DiagnosticsService
from pymobiledevice3.services.heartbeat import HeartbeatService
from pymobiledevice3.services.house_arrest import HouseArrestService
from pymobiledevice3.services.installation_proxy import InstallationProxyService
from pymobiledevice3.services.misagent import MisagentService
from pymobiledevice3.services.mobile_image_mounter import MobileImageMounterService
from pymobiledevice3.usbmux import create_mux, list_devices


async def test_every_phone_is_listed_and_tells_its_own_facts(iphone_lab: Lab) -> None:
    listed = {device.serial: device.connection_type for device in await list_devices()}
    assert listed == {phone.udid: "USB" for phone in iphone_lab.phones}
    models = {each.product_type: each for each in IRECV_DEVICES}
    for phone in iphone_lab.phones:
        async with lockdown(phone) as client:
            values = await client.get_value()
            known = models[values["ProductType"]]
            assert values["HardwareModel"].lower() == known.hardware_model
            assert (values["ChipID"], values["BoardId"]) == (known.chip_id, known.board_id)
            assert phone.identity.marketing_name == known.display_name
            assert values["UniqueDeviceID"] == phone.udid
            system = phone.identity.system
            assert (values["ProductVersion"], values["BuildVersion"]) == (
                system.version,
                system.build,
            )


async def test_a_computer_that_is_not_trusted_reads_little(old_iphone: Phone) -> None:
    old_iphone.forget_hosts()
    client = await create_using_usbmux(serial=old_iphone.udid, autopair=False)
    assert not client.paired
    assert await client.get_value(key="ProductType") == "iPhone12,1"
    with pytest.raises(MissingValueError):
        await client.get_value(key="SerialNumber")
    with pytest.raises(GetProhibitedError):
        await client.get_value("com.apple.mobile.battery")
    await client.close()


async def test_files_pass_both_ways(iphone: Phone) -> None:
    content = os.urandom(200_000)
    async with services(iphone) as provider, AfcService(provider) as files:
        await files.makedirs("/Downloads/deep/er")
        await files.set_file_contents("/Downloads/deep/a.bin", content)
        assert await files.get_file_contents("/Downloads/deep/a.bin") == content
        assert (await files.stat("/Downloads/deep/a.bin"))["st_size"] == len(content)
        await files.rename("/Downloads/deep/a.bin", "/Downloads/deep/b.bin")
        assert await files.listdir("/Downloads/deep") == ["b.bin", "er"]
        await files.rm("/Downloads/deep")
        assert not await files.exists("/Downloads/deep")
        with pytest.raises(AfcFileNotFoundError):
            await files.get_file_contents("/Downloads/deep/b.bin")
        # Nothing leads out of the folder.
        with pytest.raises(AfcException, match="PERM_DENIED"):
            await files.stat("/../errors")


async def test_apps_come_and_go_with_their_files(iphone: Phone, probe: Path) -> None:
    async with services(iphone) as provider:
        async with InstallationProxyService(provider) as apps:
            with pytest.raises(AppNotInstalledError):
                await HouseArrestService.create(provider, PROBE)
            await apps.install_from_local(probe, developer=True)
            found = await apps.get_apps(application_type="User", bundle_identifiers=[PROBE])
            assert found[PROBE]["CFBundleVersion"] == "1"
            assert found[PROBE]["Entitlements"]["get-task-allow"] is True
            async with await HouseArrestService.create(provider, PROBE) as container:
                await container.makedirs("/Documents/jobs/one")
                await container.set_file_contents("/Documents/jobs/one/job.json", b"{}")
                assert await container.listdir("/") == ["Documents", "Library", "tmp"]
            kept = iphone.container(PROBE) / "Documents/jobs/one/job.json"
            assert kept.read_bytes() == b"{}"
            # An upgrade keeps what the app has.
            await apps.install_from_local(probe, developer=True)
            assert kept.exists()
            await apps.uninstall(PROBE)
            assert await apps.get_apps(bundle_identifiers=[PROBE]) == {}
            assert not kept.exists()
        async with AfcService(provider) as files:
            assert await files.listdir("/PublicStaging/pymobiledevice3") == []


async def test_only_what_is_signed_for_the_phone_and_its_system_is_installed(
    old_iphone: Phone, tmp_path: Path
) -> None:
    app, own = App(PROBE, b"#!/bin/sh\n"), [old_iphone.udid]
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    newer = App(PROBE, b"#!/bin/sh\n", minimum_system="17.0")
    refused = {
        "cannot be installed on this device": write_package(tmp_path / "other", app, ["0"]),
        "has expired": write_package(tmp_path / "expired", app, own, expires=yesterday),
        "No code signature": write_package(tmp_path / "unsigned", app, own, signed=False),
        "DeviceOSVersionTooLow": write_package(tmp_path / "newer", newer, own),
    }
    async with lockdown(old_iphone) as client, InstallationProxyService(client) as apps:
        for words, package in refused.items():
            with pytest.raises(AppInstallError, match=words):
                await apps.install_from_local(package, developer=True)
        assert await apps.get_apps(bundle_identifiers=[PROBE]) == {}


async def test_profiles_of_apps_tell_when_they_expire(iphone: Phone, probe: Path) -> None:
    async with services(iphone) as provider:
        async with InstallationProxyService(provider) as apps:
            await apps.install_from_local(probe, developer=True)
        async with MisagentService(provider) as agent:
            (profile,) = await agent.copy_all()
    assert profile.plist["ProvisionedDevices"] == [iphone.udid]
    left = profile.plist["ExpirationDate"] - datetime.datetime.now(datetime.UTC).replace(
        tzinfo=None
    )
    assert 363 < left.days < 366


async def test_the_battery_is_as_it_was_set(iphone: Phone) -> None:
    iphone.change(battery_percent=31, battery_c=38.5, charging=False)
    async with services(iphone) as provider:
        async with DiagnosticsService(provider) as diagnostics:
            battery = await diagnostics.get_battery()
        level = await provider.get_value("com.apple.mobile.battery", "BatteryCurrentCapacity")
    assert battery is not None
    assert (battery["CurrentCapacity"], battery["Temperature"]) == (31, 3850)
    assert battery["IsCharging"] is False
    assert battery["InstantAmperage"] < 0
    assert battery["DesignCapacity"] == iphone.identity.battery_mah
    assert level == 31


async def test_the_developer_image_goes_and_comes(iphone: Phone) -> None:
    kind = "Personalized" if iphone.identity.system.personalizes else "Developer"
    async with lockdown(iphone) as client, MobileImageMounterService(client) as mounter:
        assert await mounter.is_image_mounted(kind)
        (mounted,) = await mounter.copy_devices()
        await mounter.unmount_image(mounted["MountPath"])
        assert not await mounter.is_image_mounted(kind)
        await mounter.upload_image(kind, os.urandom(100_000), b"signature")
        await mounter.mount_image(kind, b"signature")
        assert await mounter.is_image_mounted(kind)


async def test_a_heart_beats(old_iphone: Phone) -> None:
    async with lockdown(old_iphone) as client:
        await asyncio.wait_for(HeartbeatService(client).start(interval=0.0), 5.0)


async def test_several_clients_speak_to_several_phones_at_once(
    iphone_lab: Lab, tmp_path: Path
) -> None:
    async def use(phone: Phone, number: int) -> bytes:
        content = os.urandom(500_000)
        async with lockdown(phone) as client, AfcService(client) as files:
            await files.set_file_contents(f"/Downloads/{number}", content)
            assert await files.get_file_contents(f"/Downloads/{number}") == content
        return content

    for phone in iphone_lab.phones:
        async with lockdown(phone):
            pass
    everyone = [phone for phone in iphone_lab.phones for _ in range(3)]
    sent = await asyncio.gather(*(use(phone, number) for number, phone in enumerate(everyone)))
    assert len(set(sent)) == len(everyone)
    packages = [probe_package(phone, tmp_path) for phone in iphone_lab.phones]
    async with lockdown(iphone_lab.phones[0]) as client, InstallationProxyService(client) as apps:
        await apps.install_from_local(packages[0], developer=True)
    async with lockdown(iphone_lab.phones[2]) as client, InstallationProxyService(client) as apps:
        assert await apps.get_apps(bundle_identifiers=[PROBE]) == {}


async def test_usbmuxd_tells_who_listens_of_plugs(iphone_lab: Lab, old_iphone: Phone) -> None:
    async with await create_mux() as mux:
        await mux.listen()

        async def until_listed(count: int) -> None:
            while len(mux.devices) != count:
                await asyncio.wait_for(mux.receive_device_state_update(), 5.0)

        await until_listed(3)
        numbers = {device.serial: device.devid for device in mux.devices}
        old_iphone.pull_cable()
        await until_listed(2)
        old_iphone.plug_in()
        await until_listed(3)
        assert {device.serial: device.devid for device in mux.devices} != numbers
