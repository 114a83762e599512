"""Has candidates launched on devices and scores them; what was measured before stands in.

Every method may be repeated from its start after a crash: the same orders are the same jobs.
"""

import time
from collections.abc import Sequence
from dataclasses import replace

from distillfarm.controller.decide import Entrant
from distillfarm.controller.durable import ControllerStopping
from distillfarm.controller.fates import EMULATED, UNSTABLE
from distillfarm.controller.orders import Order, Taken
from distillfarm.controller.readings import evidence, pool_of
from distillfarm.controller.reuse import enough, reusable
from distillfarm.controller.series import has_numbers
from distillfarm.controller.store.protocol import MeasurementQuery
from distillfarm.controller.telling import Telling
from distillfarm.controller.tools import Tools
from distillfarm.domain.errors import Unavailable
from distillfarm.domain.ids import derived_id
from distillfarm.domain.job import Job, JobRequest, JobState, MeasureSpec
from distillfarm.domain.measurement import Measurement, Outcome
from distillfarm.domain.study import Trial
from distillfarm.domain.variant import Exported
from distillfarm.statistics.summary import launch_values


class Measuring:
    """The measurements of one study."""

    def __init__(self, tools: Tools, telling: Telling) -> None:
        self._tools = tools
        self._store = tools.store
        self._telling = telling

    def recall(self, orders: Sequence[Order]) -> list[Order]:
        """The orders with what was measured before, where it is young enough and of the series."""
        return [self._recalled(each) if self._tools.freshness_s else each for each in orders]

    def take(self, orders: Sequence[Order]) -> list[Taken]:
        """Have everything launched that is not known, all at once; in the order of ``orders``.

        What cannot be measured, since a chipset's devices are gone or fail, says so in its trial.
        """
        made = [each for each in orders if each.to_make]
        try:
            jobs = self._tools.dispatcher.measure(
                [self._request(each) for each in made],
                on_progress=lambda jobs: self._report(jobs, made),
                cancelled=self._telling.cancelled,
            )
        except Unavailable as error:
            raise ControllerStopping from error
        waiting = iter(jobs)
        done = [next(waiting) if each.to_make else None for each in orders]
        found = [self._found(order, job) for order, job in zip(orders, done, strict=True)]
        entrants = self._entrants(orders, done, found)
        return [
            _taken(order, entrants[order.trial.trial_id], job, measured)
            for order, job, measured in zip(orders, done, found, strict=True)
        ]

    def _recalled(self, order: Order) -> Order:
        artifact = _exported(order.trial).artifact
        query = MeasurementQuery(
            artifact_digest=artifact.digest,
            newer_than_s=time.time() - self._tools.freshness_s,
        )
        found = [
            (str(self._store.device(each.device_id).info.chipset), each)
            for each in self._store.measurements(query)
            if each.target == order.trial.candidate.target
            and each.measurement_id not in order.trial.measurement_ids
        ]
        able = enough(reusable(found, _spec(order), order.place), order.launches)
        if not able:
            return order
        text = f"{order.trial.candidate}: reused from {', '.join(e.measurement_id for e in able)}"
        self._telling.say("measure", text)
        return replace(
            order,
            known=tuple(each.measurement_id for each in able),
            known_launches=sum(len(each.launches) for each in able),
        )

    def _request(self, order: Order) -> JobRequest:
        exported = _exported(order.trial)
        parts = (
            order.trial.trial_id,
            exported.artifact.digest,
            order.device_id,
            str(len(order.trial.measurement_ids)),
            str(order.to_make),
        )
        return JobRequest(
            idempotency_key=derived_id("job", *parts),
            artifact=exported.artifact,
            target=order.trial.candidate.target,
            selector=f"id={order.device_id}" if order.device_id else order.place.selector,
            spec=_spec(order),
            study_id=self._telling.study_id,
        )

    def _report(self, jobs: Sequence[Job], made: Sequence[Order]) -> None:
        launched = sum(
            order.to_make * (1.0 if job.state.final else job.fraction)
            for order, job in zip(made, jobs, strict=True)
        )
        running = [each for each in jobs if each.state is JobState.RUNNING]
        finished = sum(each.state.final for each in jobs)
        text = f"measured {finished} of {len(jobs)}"
        if running:
            text += f"; {running[0].device_id}: {running[0].progress or 'starting'}"
        elif finished < len(jobs):
            text += "; waiting for a device"
        self._telling.line("measure", text, launched)

    def _found(self, order: Order, job: Job | None) -> list[Measurement]:
        """What an order adds to its trial: what was known, then what was made."""
        ids = [*order.known, *([job.measurement_id] if job and job.measurement_id else [])]
        return [self._store.measurement(each) for each in ids]

    def _entrants(
        self,
        orders: Sequence[Order],
        jobs: Sequence[Job | None],
        found: Sequence[Sequence[Measurement]],
    ) -> dict[str, Entrant]:
        """Every trial once, with what all its orders added; orders on several phones are one."""
        trials: dict[str, Trial] = {}
        added: dict[str, list[Measurement]] = {}
        for order, job, measured in zip(orders, jobs, found, strict=True):
            trial = trials.get(order.trial.trial_id, order.trial)
            if job is not None and not job.measurement_id and trial.outcome is None:
                reason = job.error or f"the job was {job.state.value}"
                trial = replace(trial, outcome_reason=f"not measured: {reason}")
            trials[trial.trial_id] = trial
            added.setdefault(trial.trial_id, []).extend(measured)
        entrants = {key: self._entrant(trial, added[key]) for key, trial in trials.items()}
        for entrant in entrants.values():
            self._store.put_trial(entrant.trial)
        return entrants

    def _entrant(self, trial: Trial, added: Sequence[Measurement]) -> Entrant:
        if not added:
            return Entrant(trial, stable=not trial.outcome_reason.startswith(UNSTABLE))
        failed = [each for each in added if each.outcome is not Outcome.OK]
        told = failed[0] if failed else added[-1]
        trial = replace(
            trial,
            measurement_ids=(*trial.measurement_ids, *(each.measurement_id for each in added)),
            outcome=told.outcome,
            outcome_reason=told.reason,
            score=None,
        )
        if told.emulated:
            # Without a score no page, picture, sampler or verdict can mistake it for a phone's.
            return Entrant(replace(trial, outcome_reason=_emulated(told)), emulated=True)
        if failed:
            return Entrant(trial)
        measured = [self._store.measurement(each) for each in trial.measurement_ids]
        shown = evidence(trial, pool_of(self._store, measured))
        if shown is None:
            return Entrant(trial)
        instability = self._instability(measured)
        reason = f"{UNSTABLE}: {instability}" if instability else trial.outcome_reason
        scored = replace(trial, score=shown.score, outcome_reason=reason)
        return Entrant(scored, stable=not instability)

    def _instability(self, measured: Sequence[Measurement]) -> str:
        """Why a device does not agree with itself, or nothing; two devices may well differ."""
        for device_id in dict.fromkeys(each.device_id for each in measured):
            here = [each for each in measured if each.device_id == device_id]
            pool = pool_of(self._store, here)
            if pool is not None and not pool.summary.stable:
                return pool.summary.instability
        return ""


def _taken(order: Order, entrant: Entrant, job: Job | None, found: Sequence[Measurement]) -> Taken:
    launches = tuple(launch for each in found if has_numbers(each) for launch in each.launches)
    made = found[-1] if job is not None and job.measurement_id else None
    sound = entrant.trial.outcome is Outcome.OK and not entrant.emulated
    return Taken(
        entrant,
        device_id=found[-1].device_id if found else order.device_id,
        measured=bool(found),
        values=launch_values(launches) if launches and sound else None,
        launches=len(made.launches) if made else 0,
        reused=len(order.known),
        device_s=made.device_s if made else 0.0,
        waited_s=made.waited_s if made else 0.0,
    )


def _spec(order: Order) -> MeasureSpec:
    exported = _exported(order.trial)
    return MeasureSpec(
        launches=max(order.to_make, 1),
        inputs_digest=exported.inputs_digest,
        expected_digest=exported.expected_digest,
        tolerance=exported.tolerance,
    )


def _exported(trial: Trial) -> Exported:
    if trial.exported is None:
        raise ValueError(f"{trial.trial_id} was not built")
    return trial.exported


def _emulated(measurement: Measurement) -> str:
    there = measurement.outcome.value + (f": {measurement.reason}" if measurement.reason else "")
    return f"{EMULATED}: {there}; what an emulated device does says nothing of a real one"
