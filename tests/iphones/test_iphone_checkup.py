"""What doctor says of iPhones: one line for each trouble, with what to do about it."""

import asyncio
from pathlib import Path

import pytest
from iphone_phone import Trust
from iphone_station import Station, station

from distillfarm.agent.drivers.finding import Finding, Grade
from distillfarm.agent.drivers.ios.checkup import checkup
from distillfarm.agent.settings import AgentSettings

__all__ = ["station"]


async def findings(station: Station, package: Path | None = None) -> list[Finding]:
    settings = AgentSettings(iphone_app=package)
    subject = f"iPhone {station.phone.udid}"
    found = await asyncio.to_thread(lambda: list(checkup(settings)))
    return [each for each in found if each.subject in ("usbmuxd", "iPhone app", subject)]


async def test_a_sound_phone_is_good_and_its_apps_signature_is_dated(station: Station) -> None:
    async with station.driver:
        pass
    found = await findings(station, station.package)
    assert not [each for each in found if each.grade is Grade.BAD]
    texts = [each.text for each in found]
    assert any(text.startswith(station.phone.identity.product_type) for text in texts)
    assert any("is signed for 36" in text for text in texts)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"trust": Trust.PENDING}, "not trusted"),
        ({"locked": True}, "locked"),
        ({"developer_mode": False}, "no developer mode"),
    ],
)
async def test_what_a_person_has_to_change_is_named(
    station: Station, change: dict[str, object], text: str
) -> None:
    async with station.driver:
        pass
    station.phone.change(**change)  # type: ignore[arg-type]
    bad = [each for each in await findings(station) if each.grade is Grade.BAD]
    assert [each.text for each in bad] == [text]
    assert bad[0].remedy


async def test_a_missing_image_and_app_are_named(station: Station) -> None:
    async with station.driver:
        pass
    station.phone.heal()
    station.phone.change(image_mounted=False)
    found = await findings(station)
    assert any("no developer image" in each.text for each in found)
    assert any("org.distillfarm.runner is not installed" in each.text for each in found)


async def test_a_stopped_usbmuxd_is_named(station: Station) -> None:
    station.lab.kill_muxd()
    station.lab.socket.touch()
    (found,) = await findings(station)
    assert (found.subject, found.grade) == ("usbmuxd", Grade.BAD)
    assert "systemctl restart usbmuxd" in found.remedy
