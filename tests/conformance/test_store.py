"""What every store promises, on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import farm_samples as samples
import pytest
from postgres import NoServer, postgres_url

from distillfarm.controller.scheduling.conduct import Ending, Felling
from distillfarm.controller.store.database import MIGRATIONS
from distillfarm.controller.store.protocol import MeasurementQuery, Store
from distillfarm.controller.store.sql import SqlStore
from distillfarm.domain.agent import JobResult
from distillfarm.domain.errors import (
    AlreadyExists,
    Blame,
    InvalidRequest,
    LeaseLost,
    NotFound,
    WrongState,
)
from distillfarm.domain.hardware import ComputeUnit, Runtime, Target
from distillfarm.domain.hardware import DeviceStatus as Status
from distillfarm.domain.ids import fresh_id
from distillfarm.domain.job import JobState, Lease
from distillfarm.domain.study import StudyState, Trial
from distillfarm.domain.variant import Candidate, Recipe

LEASE_S = 30.0


def lease_one(store: Store, key: str = "key-1", now_s: float = 0.0) -> Lease:
    """A job of that key, leased on the only device."""
    (device,) = store.report_devices("agent-1", [samples.device_info()], now_s)
    job = store.submit(samples.request(key), now_s)
    (lease,) = store.grant([(job.job_id, device.device_id)], now_s, LEASE_S)
    return lease


class StoreConformance:
    """Subclasses give a fixture ``store``."""

    # Devices

    def test_devices_appear_leave_and_return_with_their_history(self, store: Store) -> None:
        first, second = samples.device_info("a"), samples.device_info("b")
        ids = {d.info.serial: d.device_id for d in store.report_devices("one", [first, second], 1)}
        assert {d.status for d in store.devices()} == {Status.IDLE}
        store.set_labels(ids["a"], ["desk-3"])
        store.report_devices("one", [second], 2)
        gone = store.device(ids["a"])
        assert (gone.status, gone.note) == (Status.OFFLINE, "not attached to agent one")
        store.report_devices("one", [first, second], 3)
        back = store.device(ids["a"])
        assert (back.status, back.labels, back.last_seen_s) == (Status.IDLE, ("desk-3",), 3)

    def test_the_same_serial_on_two_agents_is_two_devices(self, store: Store) -> None:
        store.report_devices("one", [samples.device_info("emulator-5554")], 1)
        store.report_devices("two", [samples.device_info("emulator-5554")], 1)
        assert len(store.devices()) == 2
        assert [d.agent_id for d in store.devices("agent=two")] == ["two"]

    def test_an_agent_that_is_gone_takes_only_its_devices_offline(self, store: Store) -> None:
        store.report_devices("one", [samples.device_info()], 1)
        store.report_devices("two", [samples.device_info()], 1)
        assert [d.agent_id for d in store.agent_gone("one", 2)] == ["one"]
        assert {d.agent_id: d.status for d in store.devices()} == {
            "one": Status.OFFLINE,
            "two": Status.IDLE,
        }

    def test_a_drained_device_finishes_but_is_given_nothing(self, store: Store) -> None:
        lease = lease_one(store)
        for _ in range(2):
            store.set_drained(lease.device_id, drained=True, note="swollen battery")
        device = store.device(lease.device_id)
        assert (device.status, device.note) == (Status.DRAINED, "swollen battery")
        assert store.finish(samples.result(lease), 5, 3).state is JobState.DONE
        other = store.submit(samples.request("other"), 5)
        assert store.grant([(other.job_id, lease.device_id)], 5, LEASE_S) == []
        assert store.set_drained(lease.device_id, drained=False).status is Status.IDLE

    def test_quarantine_and_draining_are_two_facts(self, store: Store) -> None:
        (device,) = store.report_devices("agent-1", [samples.device_info()], 0)
        held = store.set_quarantined(device.device_id, quarantined=True, reason="hot at rest")
        assert (held.status, held.note) == (Status.QUARANTINED, "hot at rest")
        both = store.set_drained(device.device_id, drained=True, note="moving house")
        assert both.status is Status.QUARANTINED
        assert both.note == "hot at rest; also drained: moving house"
        undrained = store.set_drained(device.device_id, drained=False)
        assert (undrained.status, undrained.note) == (Status.QUARANTINED, "hot at rest")
        store.set_drained(device.device_id, drained=True)
        released = store.set_quarantined(device.device_id, quarantined=False)
        assert (released.status, released.note) == (Status.DRAINED, "")
        assert store.set_drained(device.device_id, drained=False).status is Status.IDLE

    def test_a_quarantined_device_is_given_nothing_and_stays_so_while_away(
        self, store: Store
    ) -> None:
        lease = lease_one(store)
        for _ in range(2):
            store.set_quarantined(lease.device_id, quarantined=True, reason="fell three times")
        assert store.finish(samples.result(lease), 1, 3).state is JobState.DONE
        other = store.submit(samples.request("other"), 2)
        assert store.grant([(other.job_id, lease.device_id)], 2, LEASE_S) == []
        (gone,) = store.agent_gone("agent-1", 3)
        assert gone.status is Status.OFFLINE
        assert gone.note.endswith("; also quarantined: fell three times")
        (back,) = store.report_devices("agent-1", [samples.device_info()], 4)
        assert back.status is Status.QUARANTINED

    def test_a_second_quarantine_may_keep_the_first_reason(self, store: Store) -> None:
        (device,) = store.report_devices("agent-1", [samples.device_info()], 0)
        for reason, keep in (("first", True), ("second", True)):
            held = store.set_quarantined(
                device.device_id, quarantined=True, reason=reason, keep=keep
            )
        assert held.note == "first"
        held = store.set_quarantined(device.device_id, quarantined=True, reason="a person's")
        assert held.note == "a person's"

    def test_a_name_belongs_to_one_device(self, store: Store) -> None:
        infos = [samples.device_info("a"), samples.device_info("b")]
        one, two = (each.device_id for each in store.report_devices("agent-1", infos, 0))
        assert store.set_name(one, "left").name == "left"
        assert store.set_name(one, "left").name == "left"
        for taken in ("left", one):
            with pytest.raises(AlreadyExists, match=one):
                store.set_name(two, taken)
        assert [each.device_id for each in store.devices("name=left")] == [one]
        store.report_devices("agent-1", infos, 1)
        assert store.device(one).name == "left"
        assert store.set_name(one, "").name == ""
        assert store.set_name(two, "left").name == "left"
        assert store.set_name(one, "").name == ""

    def test_what_is_unknown_is_named(self, store: Store) -> None:
        for ask in (store.device, store.job, store.measurement, store.study):
            with pytest.raises(NotFound, match="nothing-7"):
                ask("nothing-7")

    # Jobs

    def test_the_same_key_gives_the_same_job(self, store: Store) -> None:
        job = store.submit(samples.request(), 1)
        assert store.submit(samples.request(), 2) == job
        with pytest.raises(AlreadyExists, match="key-1"):
            store.submit(samples.request(priority=5), 3)

    def test_jobs_come_in_order_of_submission(self, store: Store) -> None:
        keys = ["c", "a", "b"]
        for key in keys:
            store.submit(samples.request(key, study_id="study-1" if key != "a" else ""), 1)
        assert [job.request.idempotency_key for job in store.jobs()] == keys
        assert len(store.jobs(study_id="study-1")) == 2
        store.cancel_job(store.jobs()[0].job_id, 2)
        assert len(store.jobs([JobState.QUEUED])) == 2
        assert len(store.jobs([JobState.CANCELLED], "study-1")) == 1

    def test_cancelling_ends_the_lease_and_is_final(self, store: Store) -> None:
        lease = lease_one(store)
        assert store.cancel_job(lease.job_id, 1).state is JobState.CANCELLED
        assert store.leases() == []
        assert store.device(lease.device_id).status is Status.IDLE
        with pytest.raises(LeaseLost):
            store.finish(samples.result(lease), 2, 3)
        assert store.cancel_job(lease.job_id, 3).state is JobState.CANCELLED

    def test_only_a_queued_job_can_be_given_up(self, store: Store) -> None:
        job = store.submit(samples.request(), 1)
        failed = store.fail_job(job.job_id, "no device can run it", 2)
        assert (failed.state, failed.error) == (JobState.FAILED, "no device can run it")
        with pytest.raises(WrongState):
            store.fail_job(job.job_id, "again", 3)

    # Leases

    def test_a_device_has_one_lease_and_a_job_one_device(self, store: Store) -> None:
        one, two = store.report_devices(
            "agent-1", [samples.device_info("a"), samples.device_info("b")], 0
        )
        first, second = (store.submit(samples.request(key), 0).job_id for key in ("x", "y"))
        pairs = [(first, one.device_id), (second, one.device_id), (first, two.device_id)]
        (lease,) = store.grant(pairs, 0, LEASE_S)
        assert (lease.job_id, lease.device_id, lease.token) == (first, one.device_id, 1)
        assert store.leases() == [lease]
        assert store.device(one.device_id).status is Status.BUSY
        assert store.job(first).attempts == 1

    def test_unknown_and_offline_are_left_out_of_a_grant(self, store: Store) -> None:
        (device,) = store.report_devices("agent-1", [samples.device_info()], 0)
        job = store.submit(samples.request(), 0)
        assert store.grant([("job-0", device.device_id), (job.job_id, "device-0")], 0, 1) == []
        store.agent_gone("agent-1", 1)
        assert store.grant([(job.job_id, device.device_id)], 1, LEASE_S) == []

    def test_a_renewed_lease_lives_and_a_silent_one_is_queued_again(self, store: Store) -> None:
        lease = lease_one(store)
        (renewed,) = store.renew([lease], 20, LEASE_S)
        assert renewed.expires_at_s == 50
        assert store.expire(49) == []
        assert [each.expires_at_s for each in store.renew([lease], 55, LEASE_S)] == [85]
        assert [each.job_id for each in store.expire(85)] == [lease.job_id]
        assert store.job(lease.job_id).state is JobState.QUEUED
        assert store.renew([lease], 86, LEASE_S) == []
        with pytest.raises(LeaseLost, match="expired"):
            store.finish(samples.result(lease), 86, 3)

    def test_a_result_after_its_time_counts_while_nobody_else_got_the_device(
        self, store: Store
    ) -> None:
        lease = lease_one(store)
        assert store.finish(samples.result(lease), 1000, 3).state is JobState.DONE

    def test_a_stale_token_is_refused(self, store: Store) -> None:
        stale = lease_one(store)
        store.release(stale, 1)
        (fresh,) = store.grant([(stale.job_id, stale.device_id)], 1, LEASE_S)
        assert fresh.token > stale.token
        for lease in (stale, replace(fresh, token=fresh.token + 7), replace(fresh, job_id="x")):
            with pytest.raises((LeaseLost, InvalidRequest)):
                store.finish(samples.result(lease), 2, 3)
        store.release(stale, 3)
        assert store.job(stale.job_id).state is JobState.RUNNING

    def test_the_same_result_again_changes_nothing(self, store: Store) -> None:
        lease = lease_one(store)
        done = store.finish(samples.result(lease), 1, 3)
        next_job = store.submit(samples.request("next"), 2)
        store.grant([(next_job.job_id, lease.device_id)], 2, LEASE_S)
        assert store.finish(samples.result(lease), 3, 3) == done
        assert len(store.measurements(MeasurementQuery())) == 1
        other = replace(samples.measurement(lease), measurement_id="measurement-other")
        with pytest.raises(LeaseLost):
            store.finish(JobResult(lease, other), 4, 3)

    def test_the_harness_s_fault_is_retried_a_bounded_number_of_times(self, store: Store) -> None:
        lease = lease_one(store)
        broken = JobResult(lease, error="adb: device offline", retryable=True)
        assert store.finish(broken, 1, 2).state is JobState.QUEUED
        assert store.finish(broken, 1, 2).state is JobState.QUEUED
        (again,) = store.grant([(lease.job_id, lease.device_id)], 2, LEASE_S)
        job = store.finish(replace(broken, lease=again), 3, 2)
        assert (job.state, job.error, job.attempts) == (JobState.FAILED, "adb: device offline", 2)

    def test_an_error_that_no_retry_helps_fails_at_once(self, store: Store) -> None:
        lease = lease_one(store)
        assert store.finish(JobResult(lease, error="bad spec"), 1, 5).state is JobState.FAILED

    def test_a_result_of_another_job_is_refused(self, store: Store) -> None:
        lease = lease_one(store)
        strange = replace(samples.measurement(lease), job_id="job-of-another")
        for bad in (JobResult(lease), JobResult(lease, strange)):
            with pytest.raises(InvalidRequest):
                store.finish(bad, 1, 3)
        assert store.job(lease.job_id).state is JobState.RUNNING

    # Conduct

    def fail(self, store: Store, key: str, blame: Blame, error: str = "broken") -> Lease:
        lease = lease_one(store, key)
        store.finish(JobResult(lease, error=error, retryable=False, blame=blame), 1, 3)
        return lease

    def test_a_job_remembers_where_it_failed(self, store: Store) -> None:
        lease = lease_one(store)
        broken = JobResult(lease, error="adb: device offline", retryable=True)
        for _ in range(2):
            assert store.finish(broken, 1, 9).failed_on == (lease.device_id,)
        (again,) = store.grant([(lease.job_id, lease.device_id)], 2, LEASE_S)
        store.finish(replace(broken, lease=again), 3, 9)
        assert store.job(lease.job_id).failed_on == (lease.device_id,)
        assert store.jobs([JobState.QUEUED])[0].failed_on == (lease.device_id,)

    def test_how_jobs_ended_on_a_device_is_known_the_newest_first(self, store: Store) -> None:
        device_id = self.fail(store, "a", Blame.PHONE, "first").device_id
        store.finish(samples.result(lease_one(store, "b")), 1, 3)
        self.fail(store, "c", Blame.HARNESS, "second")
        store.release(lease_one(store, "d"), 2)
        store.cancel_job(lease_one(store, "e").job_id, 2)
        self.fail(store, "f", Blame.MODEL)
        store.expire(1e9)
        assert store.endings(device_id, 9) == [
            Ending(Blame.HARNESS, "second"),
            Ending(None),
            Ending(Blame.PHONE, "first"),
        ]
        assert store.endings(device_id, 1) == [Ending(Blame.HARNESS, "second")]

    def test_a_released_device_begins_anew(self, store: Store) -> None:
        device_id = self.fail(store, "a", Blame.PHONE).device_id
        store.set_quarantined(device_id, quarantined=True, reason="broken")
        assert len(store.endings(device_id, 9)) == 1
        store.set_quarantined(device_id, quarantined=False)
        assert store.endings(device_id, 9) == []
        self.fail(store, "b", Blame.PHONE)
        assert len(store.endings(device_id, 9)) == 1

    def test_fellings_are_noted_once_under_a_live_lease_and_forgiven(self, store: Store) -> None:
        lease = lease_one(store)
        for moment in (5.0, 6.0):
            store.add_felling(lease, moment)
        expected = Felling("onnxruntime/cpu/cpu", lease.device_id, "phone-1", False, 5.0)
        assert store.fellings(samples.DIGEST) == [expected]
        for stranger in (replace(lease, token=99), replace(lease, job_id="x")):
            store.add_felling(stranger, 7.0)
        store.finish(JobResult(lease, error="gone", blame=Blame.MODEL, felled=True), 8, 3)
        assert store.fellings(samples.DIGEST) == [expected]
        assert store.fellings("sha256:other") == []
        assert store.forgive(samples.DIGEST) == 1
        assert store.forgive(samples.DIGEST) == 0
        store.add_felling(lease, 9.0)
        assert store.fellings(samples.DIGEST) == []

    def test_a_queued_job_can_be_answered_without_a_device(self, store: Store) -> None:
        lease = lease_one(store, "ran")
        job = store.submit(samples.request("waits"), 1)
        answer = replace(
            samples.measurement(lease), measurement_id="measurement-x", job_id=job.job_id
        )
        done = store.answer(job.job_id, answer)
        assert (done.state, done.device_id, done.attempts) == (JobState.DONE, lease.device_id, 0)
        assert store.measurement(done.measurement_id) == answer
        for other in (job.job_id, lease.job_id):
            with pytest.raises(WrongState, match="only a queued job"):
                store.answer(other, answer)

    # Measurements

    def test_measurements_are_kept_whole_and_found_by_filter(self, store: Store) -> None:
        stored = []
        for number, key in enumerate(("a", "b")):
            lease = lease_one(store, key)
            stored.append(replace(samples.measurement(lease), started_at_s=float(number + 1)))
            store.finish(JobResult(lease, stored[-1]), 1, 3)
        assert store.measurement(stored[0].measurement_id) == stored[0]
        assert store.measurements(MeasurementQuery()) == stored[::-1]
        assert store.measurements(MeasurementQuery(newer_than_s=1.0)) == stored[1:]
        assert store.measurements(MeasurementQuery(device_id="device-0")) == []
        assert len(store.measurements(MeasurementQuery(artifact_digest=samples.DIGEST))) == 2
        assert store.measurements(MeasurementQuery(study_id="study-1")) == []

    # Studies

    def test_the_same_key_gives_the_same_study(self, store: Store) -> None:
        study = store.create_study("study-1", samples.study_spec(), 1)
        assert store.create_study("study-1", samples.study_spec(), 2) == study
        with pytest.raises(AlreadyExists, match="study-1"):
            store.create_study("study-1", samples.study_spec("other"), 3)
        store.create_study("study-2", samples.study_spec(), 4)
        assert [each.study_id for each in store.studies()] == ["study-2", "study-1"]

    def test_a_final_state_is_never_left(self, store: Store) -> None:
        study = store.create_study("study-1", samples.study_spec(), 1)
        store.put_study(replace(study, state=StudyState.CANCELLED))
        store.put_study(replace(study, state=StudyState.RUNNING))
        assert store.study("study-1").state is StudyState.CANCELLED
        store.put_study(replace(study, state=StudyState.CANCELLED, finished_at_s=9.0))
        assert store.study("study-1").finished_at_s == 9.0

    def test_trials_are_replaced_in_place(self, store: Store) -> None:
        store.create_study("study-1", samples.study_spec(), 1)
        candidate = Candidate(Recipe(), Target(Runtime.LITERT, "xnnpack", ComputeUnit.CPU))
        trials = [Trial(f"trial-{n}", "study-1", "chip", candidate) for n in (3, 1, 2)]
        for trial in trials:
            store.put_trial(trial)
        trials[1] = replace(trials[1], outcome_reason="changed")
        store.put_trial(trials[1])
        assert store.trials("study-1") == trials
        with pytest.raises(NotFound):
            store.put_trial(replace(trials[0], study_id="study-0"))

    def test_events_are_numbered_per_study(self, store: Store) -> None:
        for study in ("study-1", "study-2"):
            store.create_study(study, samples.study_spec(), 1)
            for text in ("one", "two", "three"):
                store.add_event(study, "measure", text, 2, done=1, total=3, left_s=4.5)
        assert [each.sequence for each in store.events("study-1")] == [1, 2, 3]
        (last,) = store.events("study-2", after_sequence=2)
        assert (last.text, last.done, last.total, last.left_s) == ("three", 1, 3, 4.5)
        assert store.events("study-1", after_sequence=3) == []

    # Credentials

    def test_credentials_are_known_by_digest(self, store: Store) -> None:
        store.add_credential("sha256:aa", "agent-1", "agent", 1)
        store.add_credential("sha256:aa", "agent-1", "agent", 2)
        assert store.credential("sha256:aa") == ("agent-1", "agent")
        assert store.credential("sha256:bb") is None
        with pytest.raises(AlreadyExists):
            store.add_credential("sha256:aa", "agent-2", "agent", 3)


class TestSqlite(StoreConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = SqlStore(f"sqlite:///{tmp_path / 'farm.db'}")
        yield store
        store.close()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    pytest.importorskip("psycopg", reason="pip install 'distillfarm[postgres]'")
    try:
        with postgres_url() as url:
            yield url
    except NoServer as missing:
        pytest.skip(str(missing))


class TestPostgres(StoreConformance):
    @pytest.fixture
    def schema(self, url: str) -> Iterator[str]:
        """The URL of an empty schema."""
        psycopg = pytest.importorskip("psycopg")
        name = fresh_id("t").replace("-", "_")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
            joint = "&" if "?" in url else "?"
            yield f"{url}{joint}options=-csearch_path%3D{name}"
            connection.execute(f"DROP SCHEMA {name} CASCADE")

    @pytest.fixture
    def store(self, schema: str) -> Iterator[Store]:
        store = SqlStore(schema)
        yield store
        store.close()

    def test_a_database_of_the_first_version_is_led_forward(self, schema: str) -> None:
        """What the migrations add is taken away, and comes back."""
        psycopg = pytest.importorskip("psycopg")
        SqlStore(schema).close()
        statements = [each for migration in MIGRATIONS for each in migration]
        added = [each.split()[2::3][:2] for each in statements if each.startswith("ALTER")]
        with psycopg.connect(schema, autocommit=True) as connection:
            connection.execute("DROP TABLE felling")
            for table, column in added:
                connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
            connection.execute("UPDATE schema_version SET version = 1")
        store = SqlStore(schema)
        lease = lease_one(store)
        store.add_felling(lease, 1.0)
        assert store.set_quarantined(lease.device_id, quarantined=True, reason="x").note == "x"
        assert len(store.fellings(samples.DIGEST)) == 1
        store.close()
