"""Devices and credentials in the database."""

from collections.abc import Collection, Sequence

import msgspec
from sqlmodel import Session, col, or_, select

from distillfarm.controller.store.database import Database
from distillfarm.controller.store.tables import LIVE, CredentialRow, DeviceRow, LeaseRow
from distillfarm.domain.errors import AlreadyExists, NotFound
from distillfarm.domain.hardware import Device, DeviceInfo, DeviceStatus, matches
from distillfarm.domain.ids import derived_id


class DeviceStore(Database):
    """The devices' part of ``protocol.Store``."""

    def report_devices(
        self, agent_id: str, infos: Sequence[DeviceInfo], now_s: float
    ) -> list[Device]:
        """See ``protocol.Store``."""
        with self.writing() as session:
            known = {
                row.device_id: row
                for row in session.exec(select(DeviceRow).where(DeviceRow.agent_id == agent_id))
            }
            # An agent serves a serial number once, whatever it reports twice.
            present = {derived_id("device", agent_id, info.serial): info for info in infos}
            for device_id, info in present.items():
                row = known.setdefault(device_id, _fresh(device_id, agent_id))
                row.info = msgspec.json.encode(info).decode()
                row.online, row.offline_note, row.last_seen_s = True, "", now_s
                session.add(row)
            for device_id, row in known.items():
                if device_id not in present and row.online:
                    row.online, row.offline_note = False, f"not attached to agent {agent_id}"
            session.flush()
            busy = busy_devices(session)
            return [to_device(known[device_id], busy) for device_id in sorted(known)]

    def agent_gone(self, agent_id: str, now_s: float) -> list[Device]:
        """See ``protocol.Store``."""
        with self.writing() as session:
            statement = select(DeviceRow).where(DeviceRow.agent_id == agent_id)
            rows = session.exec(statement.order_by(col(DeviceRow.device_id))).all()
            for row in rows:
                if row.online:
                    row.online, row.offline_note = False, f"agent {agent_id} is not connected"
                    row.last_seen_s = now_s
            return [to_device(row, ()) for row in rows]

    def devices(self, selector: str = "*") -> list[Device]:
        """See ``protocol.Store``."""
        with self.reading() as session:
            rows = session.exec(select(DeviceRow).order_by(col(DeviceRow.device_id))).all()
            busy = busy_devices(session)
        devices = [to_device(row, busy) for row in rows]
        return [device for device in devices if matches(device, selector)]

    def device(self, device_id: str) -> Device:
        """See ``protocol.Store``."""
        with self.reading() as session:
            return to_device(device_row(session, device_id), busy_devices(session, [device_id]))

    def set_drained(self, device_id: str, drained: bool, note: str = "") -> Device:
        """See ``protocol.Store``."""
        with self.writing() as session:
            row = device_row(session, device_id)
            row.drained, row.drain_note = drained, note if drained else ""
            return to_device(row, busy_devices(session, [device_id]))

    def set_quarantined(
        self, device_id: str, quarantined: bool, reason: str = "", *, keep: bool = False
    ) -> Device:
        """See ``protocol.Store``."""
        with self.writing() as session:
            row = device_row(session, device_id)
            if not (keep and quarantined and row.quarantined):
                row.quarantined, row.quarantine_note = quarantined, reason if quarantined else ""
            if not quarantined:
                row.forgiven_token = row.last_token
            return to_device(row, busy_devices(session, [device_id]))

    def set_name(self, device_id: str, name: str) -> Device:
        """See ``protocol.Store``."""
        with self.writing() as session:
            row = device_row(session, device_id)
            taken = select(DeviceRow).where(
                or_(col(DeviceRow.name) == name, col(DeviceRow.device_id) == name),
                col(DeviceRow.device_id) != device_id,
            )
            other = session.exec(taken).first() if name else None
            if other is not None:
                raise AlreadyExists(
                    f"{name!r} means {other.device_id} already; choose another name, or take it "
                    f"away there first"
                )
            row.name = name
            return to_device(row, busy_devices(session, [device_id]))

    def set_labels(self, device_id: str, labels: Sequence[str]) -> Device:
        """See ``protocol.Store``."""
        with self.writing() as session:
            row = device_row(session, device_id)
            row.labels = msgspec.json.encode(list(labels)).decode()
            return to_device(row, busy_devices(session, [device_id]))

    def add_credential(self, secret_digest: str, subject: str, role: str, now_s: float) -> None:
        """See ``protocol.Store``."""
        with self.writing() as session:
            row = session.get(CredentialRow, secret_digest)
            if row is None:
                session.add(
                    CredentialRow(
                        secret_digest=secret_digest, subject=subject, role=role, created_at_s=now_s
                    )
                )
            elif (row.subject, row.role) != (subject, role):
                raise AlreadyExists(f"the credential belongs to {row.role} {row.subject}")

    def credential(self, secret_digest: str) -> tuple[str, str] | None:
        """See ``protocol.Store``."""
        with self.reading() as session:
            row = session.get(CredentialRow, secret_digest)
            return (row.subject, row.role) if row else None


def device_row(session: Session, device_id: str) -> DeviceRow:
    """The device's row.

    Raises:
        NotFound: there is no such device.
    """
    row = session.get(DeviceRow, device_id)
    if row is None:
        raise NotFound(f"device {device_id} is unknown; see `distillfarm devices list`")
    return row


def busy_devices(session: Session, device_ids: Collection[str] = ()) -> frozenset[str]:
    """Which of the devices (all, when none is named) have a live lease."""
    statement = select(LeaseRow.device_id).where(LeaseRow.end == LIVE)
    if device_ids:
        statement = statement.where(col(LeaseRow.device_id).in_(device_ids))
    return frozenset(session.exec(statement))


def to_device(row: DeviceRow, busy: Collection[str]) -> Device:
    """The domain's form of a row, given which devices have a live lease."""
    status, note = _standing(row, busy)
    return Device(
        row.device_id,
        row.agent_id,
        msgspec.json.decode(row.info, type=DeviceInfo),
        status,
        row.last_seen_s,
        msgspec.json.decode(row.labels, type=tuple[str, ...]),
        note,
        row.name,
    )


def _standing(row: DeviceRow, busy: Collection[str]) -> tuple[DeviceStatus, str]:
    """The status, and why it is given no work: what lasts longest to mend goes first."""
    reasons = [
        (status, note)
        for status, holds, note in (
            (DeviceStatus.OFFLINE, not row.online, row.offline_note),
            (DeviceStatus.QUARANTINED, row.quarantined, row.quarantine_note),
            (DeviceStatus.DRAINED, row.drained, row.drain_note),
        )
        if holds
    ]
    if not reasons:
        return DeviceStatus.BUSY if row.device_id in busy else DeviceStatus.IDLE, ""
    (status, first), *others = reasons
    also = (f"also {other.value}{f': {note}' if note else ''}" for other, note in others)
    return status, "; ".join(filter(None, (first, *also)))


def _fresh(device_id: str, agent_id: str) -> DeviceRow:
    return DeviceRow(
        device_id=device_id,
        agent_id=agent_id,
        online=True,
        offline_note="",
        drained=False,
        drain_note="",
        last_seen_s=0.0,
        last_token=0,
        labels="[]",
        info="",
    )
