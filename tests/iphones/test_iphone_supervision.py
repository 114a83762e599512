"""A supervised phone trusts its lab's computers without a tap, and nobody else's."""

import asyncio
import datetime
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID
from iphone_phone import Phone, Trust
from iphone_station import Station, station

from distillfarm.agent.drivers.fault import PhoneFault
from distillfarm.agent.drivers.finding import Finding, Grade
from distillfarm.agent.drivers.ios import faults
from distillfarm.agent.drivers.ios.checkup import checkup
from distillfarm.agent.drivers.ios.line import PhoneLine
from distillfarm.agent.drivers.ios.protocol import Supervisor
from distillfarm.agent.settings import AgentSettings

__all__ = ["station"]

PASSWORD = b"of the lab"
# What doctor says of a file asks no phone, and looking at all of them takes it half a minute.
ONE_PHONE = pytest.mark.parametrize("iphone", ["new_iphone"], indirect=True)


class Organisation(NamedTuple):
    """Who may supervise phones."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def as_p12(self, folder: Path) -> AgentSettings:
        """Its identity as Apple Configurator exports it, named in an agent's settings."""
        path, password = folder / "supervisor.p12", folder / "password"
        encryption = serialization.BestAvailableEncryption(PASSWORD)
        path.write_bytes(
            pkcs12.serialize_key_and_certificates(
                b"lab", self.key, self.certificate, None, encryption
            )
        )
        password.write_bytes(PASSWORD + b"\n")
        return AgentSettings(iphone_supervisor=path, iphone_supervisor_password_file=password)

    def as_pem(self, folder: Path) -> AgentSettings:
        """The same without a password."""
        path = folder / "supervisor.pem"
        key = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        path.write_bytes(key + self.pem.encode())
        return AgentSettings(iphone_supervisor=path)


def organisation(days: int = 365) -> Organisation:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "The Lab")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=400))
        .not_valid_after(now + datetime.timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    return Organisation(key, made)


def reset(phone: Phone, supervisor: Organisation) -> None:
    """The phone after a reset of its trusted computers: nobody is there to tap."""
    phone.forget_hosts()
    phone.change(trust=Trust.PENDING, supervisor=supervisor.pem)


async def settled(station: Station, settings: AgentSettings) -> bool:
    """Whether the phone trusts this computer by the identity of the settings."""
    named = settings.iphone_supervisor
    password = settings.iphone_supervisor_password_file
    assert named is not None
    who = Supervisor(str(named), str(password or ""))
    line = PhoneLine(station.phone.udid, str(station.lab.socket), patience_s=1.0, supervisor=who)
    try:
        return (await line.settle()).paired
    finally:
        await line.close()


async def test_a_supervised_phone_trusts_without_a_tap(station: Station, tmp_path: Path) -> None:
    lab = organisation()
    await asyncio.to_thread(reset, station.phone, lab)
    assert await settled(station, lab.as_p12(tmp_path))
    # The trust stays: the next worker needs no identity.
    async with station.driver:
        pass


async def test_an_identity_without_a_password_does_as_well(
    station: Station, tmp_path: Path
) -> None:
    lab = organisation()
    await asyncio.to_thread(reset, station.phone, lab)
    assert await settled(station, lab.as_pem(tmp_path))


async def test_a_phone_of_another_organisation_asks_for_a_tap(
    station: Station, tmp_path: Path
) -> None:
    await asyncio.to_thread(reset, station.phone, organisation())
    with pytest.raises(PhoneFault) as caught:
        await settled(station, organisation().as_pem(tmp_path))
    assert caught.value.fault is faults.UNTRUSTED


async def test_a_wrong_password_is_named_with_the_settings(
    station: Station, tmp_path: Path
) -> None:
    lab = organisation()
    await asyncio.to_thread(reset, station.phone, lab)
    settings = lab.as_p12(tmp_path)
    (tmp_path / "password").write_bytes(b"another")
    with pytest.raises(PhoneFault, match="DISTILLFARM_AGENT_IPHONE_SUPERVISOR_PASSWORD_FILE") as it:
        await settled(station, settings)
    assert it.value.fault is faults.NO_IDENTITY
    assert PASSWORD.decode() not in str(it.value)


async def findings(settings: AgentSettings, subject: str) -> list[Finding]:
    found = await asyncio.to_thread(lambda: list(checkup(settings)))
    return [each for each in found if each.subject == subject]


@ONE_PHONE
async def test_doctor_dates_the_identity(station: Station, tmp_path: Path) -> None:
    (told,) = await findings(organisation(90).as_p12(tmp_path), "iPhone supervision")
    assert told.grade is Grade.GOOD
    assert told.text in ("CN=The Lab, for 90 days more", "CN=The Lab, for 89 days more")


@ONE_PHONE
@pytest.mark.parametrize("spoilt", ["expired", "no file"])
async def test_doctor_names_an_identity_that_serves_no_more(
    station: Station, tmp_path: Path, spoilt: str
) -> None:
    settings = organisation(-1).as_pem(tmp_path)
    if spoilt == "no file":
        (tmp_path / "supervisor.pem").unlink()
    (told,) = await findings(settings, "iPhone supervision")
    assert told.grade is Grade.BAD
    assert told.remedy


async def test_doctor_tells_that_a_supervised_phones_identity_was_not_named(
    station: Station,
) -> None:
    async with station.driver:
        pass
    station.phone.change(supervisor=organisation().pem)
    found = await findings(AgentSettings(), f"iPhone {station.phone.udid}")
    assert any("by no identity that is named" in each.text for each in found)
    assert not any("not supervised" in each.text for each in found)
