"""The store on SQLite or PostgreSQL."""

from distillfarm.controller.store.devices import DeviceStore
from distillfarm.controller.store.fellings import FellingStore
from distillfarm.controller.store.jobs import JobStore
from distillfarm.controller.store.leases import LeaseStore
from distillfarm.controller.store.measurements import MeasurementStore
from distillfarm.controller.store.studies import StudyStore


class SqlStore(DeviceStore, JobStore, LeaseStore, FellingStore, MeasurementStore, StudyStore):
    """``protocol.Store`` on ``sqlite:///FILE`` or ``postgresql://...``; see ``Database``.

    One controller owns a database at a time: other processes may read it.
    """
