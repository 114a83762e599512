"""What each stage of a study does; every method may be repeated from its start after a crash."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

from distillfarm.controller import decide
from distillfarm.controller.bundle import build_bundle
from distillfarm.controller.compressor import Compressor
from distillfarm.controller.decide import Entrant
from distillfarm.controller.durable import ControllerStopping
from distillfarm.controller.fates import EMULATED, UNSTABLE
from distillfarm.controller.lab import ChipsetLab, survey
from distillfarm.controller.progress import Progress
from distillfarm.controller.readings import summary_of
from distillfarm.controller.scoring import score
from distillfarm.controller.signing import SigningKey
from distillfarm.controller.store.protocol import MeasurementQuery, Store
from distillfarm.domain.errors import Cancelled, NoCapacity, Unavailable
from distillfarm.domain.ids import derived_id
from distillfarm.domain.job import Job, JobRequest, JobState, MeasureSpec
from distillfarm.domain.measurement import Measurement, Outcome
from distillfarm.domain.model import Analysis
from distillfarm.domain.study import Choice, Study, StudySpec, StudyState, Trial
from distillfarm.domain.variant import Candidate, Exported, Recipe, Refusal, Variant
from distillfarm.wire.blobs import BlobStore

_FINALISTS = 2
_LINE_EVERY_S = 2.0
_LOOK_EVERY_S = 0.5


class Dispatcher(Protocol):
    """Runs benchmarks on the lab's devices."""

    def measure(
        self,
        requests: Sequence[JobRequest],
        *,
        on_progress: Callable[[Sequence[Job]], None],
        cancelled: Callable[[], bool],
    ) -> list[Job]:
        """Submit, wait until all are final, give them in order; the same keys, the same jobs.

        Raises:
            Cancelled: ``cancelled`` said so.
            Unavailable: the controller stops.
        """


@dataclass(frozen=True)
class Tools:
    """What the stages of every study work with.

    A measurement younger than ``freshness_s`` may stand in for a search trial's; 0 forbids it.
    """

    store: Store
    blobs: BlobStore
    compressor: Compressor
    dispatcher: Dispatcher
    signing_key: SigningKey
    stopping: Callable[[], bool]
    freshness_s: float = 24 * 3600.0
    wait_for_devices_s: float = 120.0


class Stages:
    """The stages of one study, in the order of their methods."""

    def __init__(self, tools: Tools, study: Study) -> None:
        self._tools = tools
        self._store = tools.store
        self.study_id = study.study_id
        self.spec: StudySpec = study.spec
        self.progress = Progress()
        self._looked_at_s = 0.0
        self._line_at_s = 0.0

    def find_devices(self) -> tuple[ChipsetLab, ...]:
        """Wait until a device that is meant by the selector is there; then look at all of them.

        Raises:
            NoCapacity: none appeared in time.
        """
        self._put(state=StudyState.RUNNING)
        deadline = time.monotonic() + self._tools.wait_for_devices_s
        while True:
            devices = self._store.devices(self.spec.selector)
            lab = survey(devices, self.spec.targets, self.spec.selector)
            if lab:
                return lab
            if time.monotonic() > deadline:
                raise NoCapacity(
                    f"no usable device matches {self.spec.selector!r}; start an agent, or look at"
                    " `distillfarm devices list`"
                )
            self._line("ingest", f"waiting for a device that matches {self.spec.selector!r}")
            self._cancelled()
            time.sleep(_LOOK_EVERY_S)

    def ingest(self) -> Variant:
        """Read the model.

        Raises:
            ModelRejected: the file is hostile, broken or of an unknown format.
        """
        name = self.spec.model.artifact.name
        self.say("ingest", f"reading {name}")
        return self._tools.compressor.ingest(
            self.spec.model, self.spec.data, self._reporter("ingest"), self._cancelled
        )

    def analyse(self, model: Variant) -> Analysis:
        """Find out what the model is made of."""
        analysis = self._tools.compressor.analyse(
            model, self.spec.data, self._reporter("analyse"), self._cancelled
        )
        self._put(analysis=analysis)
        found = f"; {analysis.bottlenecks[0]}" if analysis.bottlenecks else ""
        self.say(
            "analyse", f"{analysis.parameters:,} parameters, {analysis.macs:,} MACs a sample{found}"
        )
        return analysis

    def references(self, lab: Sequence[ChipsetLab]) -> list[Trial]:
        """The untouched model as trials: one for each chipset and target asked for."""
        trials: list[Trial] = []
        for place in lab:
            if place.emulated:
                self.say("propose", f"{place.chipset} has emulated devices only: none is chosen")
            originals = [Candidate(Recipe(), target) for target in place.targets]
            trials.extend(self._trial(place, each, "reference") for each in originals)
            for each in place.unsupported:
                self.say("propose", f"{place.chipset} cannot run {each.target}: {each.reason}")
                trial = self._trial(place, Candidate(Recipe(), each.target), "reference")
                trials.append(replace(trial, refusal=Refusal("device", each.reason)))
        return [replace(each, reference=True) for each in trials]

    def proposed(self, place: ChipsetLab, candidates: Sequence[Candidate]) -> list[Trial]:
        """A chipset's candidates as trials."""
        return [self._trial(place, each, "search") for each in candidates]

    def compress(self, model: Variant, trials: Sequence[Trial]) -> list[Trial]:
        """Build every candidate once, whatever number of chipsets asked for it."""
        wanted = list(dict.fromkeys(each.candidate for each in trials if each.refusal is None))
        built: dict[Candidate, Exported | Refusal] = {}

        def build(candidate: Candidate) -> None:
            built[candidate] = self._tools.compressor.compress(
                model,
                candidate.recipe,
                candidate.target,
                dataset=self.spec.data,
                seed=self.spec.seed,
                report=self._reporter("compress", lambda: float(len(built))),
                cancelled=self._cancelled,
            )
            self.say("compress", _built(candidate, built[candidate]), under_way=float(len(built)))

        with ThreadPoolExecutor(max_workers=max(len(wanted), 1)) as pool:
            for done in [pool.submit(build, each) for each in wanted]:
                done.result()
        results = [_with(each, built.get(each.candidate)) for each in trials]
        for trial in results:
            self._store.put_trial(trial)
        return results

    def measure(
        self, trials: Sequence[Trial], lab: Sequence[ChipsetLab], launches: int, *, fresh: bool
    ) -> list[Entrant]:
        """Measure what was built; ``fresh`` forbids to take over an earlier measurement.

        What cannot be measured, since a chipset's devices are gone or fail, says so in its trial.
        """
        places = {each.chipset: each for each in lab}
        entrants: dict[str, Entrant] = {}
        waiting: dict[str, tuple[Trial, JobRequest]] = {}
        for trial in trials:
            if trial.exported is None:
                entrants[trial.trial_id] = Entrant(trial)
                continue
            request = self._request(trial, places[trial.chipset], launches)
            known = None if fresh else self._known(request, places[trial.chipset])
            if known is None:
                waiting[trial.trial_id] = (trial, request)
            else:
                entrants[trial.trial_id] = self._measured(trial, known)
                text = f"{trial.candidate}: reused from {known.measurement_id}"
                self.say("measure", text, under_way=float(len(entrants) * launches))
        try:
            jobs = self._tools.dispatcher.measure(
                [request for _, request in waiting.values()],
                on_progress=lambda jobs: self._measuring(jobs, len(entrants), launches),
                cancelled=self._cancelled,
            )
        except Unavailable as error:
            raise ControllerStopping from error
        for (trial, _), job in zip(waiting.values(), jobs, strict=True):
            entrants[trial.trial_id] = self._outcome(trial, job)
        for entrant in entrants.values():
            self._store.put_trial(entrant.trial)
        for chipset in decide.lost(list(entrants.values())):
            self.say("measure", f"{chipset}: nothing could be measured, its search ends here")
        return [entrants[each.trial_id] for each in trials]

    def out_of_time(self, started_s: float) -> bool:
        """Whether the wall time of the budget is spent."""
        return time.time() - started_s > self.spec.budget.wall_s

    def now_s(self) -> float:
        """Unix seconds."""
        return time.time()

    def finalists(
        self, searched: Sequence[Entrant], references: Sequence[Trial], place: ChipsetLab
    ) -> list[Trial]:
        """What a chipset's choice rests on: the best of the search and the untouched model."""
        here = [each for each in searched if each.trial.chipset == place.chipset]
        best = decide.shortlist(here, self.spec.sla, _FINALISTS)
        again = [
            replace(self._trial(place, each.candidate, "final"), exported=each.exported, final=True)
            for each in best
        ]
        beside = [each for each in references if each.chipset == place.chipset and each.exported]
        return again + [replace(each, final=True) for each in beside]

    def decide(
        self, lab: Sequence[ChipsetLab], finals: Sequence[Entrant], others: Sequence[Entrant]
    ) -> list[Choice]:
        """Choose for every chipset; ``others`` were searched but not measured finally."""
        choices = [
            decide.choose(
                place.chipset,
                [each for each in finals if each.trial.chipset == place.chipset],
                self.spec.sla,
                [each for each in others if each.trial.chipset == place.chipset],
            )
            for place in lab
        ]
        self._put(choices=tuple(choices))
        for choice in choices:
            verdict = choice.verdict.verdict.value.upper()
            self.say("decide", f"{choice.chipset}: {verdict}. {choice.why}")
        return choices

    def bundle(self) -> None:
        """Write, sign and store what is delivered; the study is then DONE."""
        self.say("bundle", "writing the bundle")
        study = self._store.study(self.study_id)
        finished = replace(study, state=StudyState.DONE, finished_at_s=time.time())
        artifact = build_bundle(finished, self._store, self._tools.blobs, self._tools.signing_key)
        self.progress.finish("bundle", 1, 0.0)
        self.say("bundle", f"bundle {artifact.name}, {artifact.size_bytes:,} bytes")
        self._store.put_study(replace(finished, bundle=artifact))

    def end(self, state: StudyState, reason: str) -> None:
        """Finish early, for ``reason``."""
        study = self._store.study(self.study_id)
        if not study.state.final:
            self.say("decide", f"{state.value}: {reason}")
            self._put(state=state, error=reason, finished_at_s=time.time())

    def say(self, stage: str, text: str, under_way: float = 0.0) -> None:
        """Append an event with how far the study is."""
        self._line_at_s = time.monotonic()
        self._store.add_event(
            self.study_id,
            stage,
            text,
            time.time(),
            done=self.progress.done + int(under_way),
            total=self.progress.total,
            left_s=self.progress.left_s(stage, under_way),
        )

    def _line(self, stage: str, text: str, under_way: float = 0.0) -> None:
        if time.monotonic() - self._line_at_s >= _LINE_EVERY_S:
            self.say(stage, text, under_way)

    def _reporter(
        self, stage: str, under_way: Callable[[], float] = lambda: 0.0
    ) -> Callable[[float, str], None]:
        def report(fraction: float, text: str) -> None:
            share = f" ({fraction:.0%})" if fraction else ""
            self._line(stage, f"{text}{share}", under_way())

        return report

    def _cancelled(self) -> bool:
        if self._tools.stopping():
            raise ControllerStopping
        now = time.monotonic()
        if now - self._looked_at_s < _LOOK_EVERY_S:
            return False
        self._looked_at_s = now
        if self._store.study(self.study_id).state is StudyState.CANCELLED:
            raise Cancelled(f"{self.study_id}: cancelled")
        return False

    def _put(self, **changes: object) -> None:
        study = self._store.study(self.study_id)
        self._store.put_study(replace(study, **changes))  # type: ignore[arg-type]

    def _trial(self, place: ChipsetLab, candidate: Candidate, phase: str) -> Trial:
        trial_id = derived_id("trial", self.study_id, place.chipset, str(candidate), phase)
        return Trial(trial_id, self.study_id, place.chipset, candidate)

    def _request(self, trial: Trial, place: ChipsetLab, launches: int) -> JobRequest:
        exported = _exported(trial)
        return JobRequest(
            idempotency_key=derived_id(
                "job", trial.trial_id, exported.artifact.digest, str(launches)
            ),
            artifact=exported.artifact,
            target=trial.candidate.target,
            selector=place.selector,
            spec=MeasureSpec(
                launches=launches,
                inputs_digest=exported.inputs_digest,
                expected_digest=exported.expected_digest,
                tolerance=exported.tolerance,
            ),
            study_id=self.study_id,
        )

    def _known(self, request: JobRequest, place: ChipsetLab) -> Measurement | None:
        """A fresh enough measurement of just this, on the same build of one of these devices."""
        if not self._tools.freshness_s:
            return None
        builds = {each: self._store.device(each).info.os_build for each in place.device_ids}
        query = MeasurementQuery(
            artifact_digest=request.artifact.digest,
            newer_than_s=time.time() - self._tools.freshness_s,
        )
        for found in self._store.measurements(query):
            same = (found.target, found.spec) == (request.target, request.spec)
            build = next((each.value for each in found.context if each.name == "os_build"), None)
            here = build is not None and builds.get(found.device_id) == build
            if same and here and found.outcome is Outcome.OK and not found.emulated:
                return found
        return None

    def _measuring(self, jobs: Sequence[Job], before: int, launches: int) -> None:
        done = before + sum(each.fraction if not each.state.final else 1.0 for each in jobs)
        running = [each for each in jobs if each.state is JobState.RUNNING]
        finished = sum(each.state.final for each in jobs)
        text = f"measured {finished} of {len(jobs)}"
        if running:
            text += f"; {running[0].device_id}: {running[0].progress or 'starting'}"
        elif finished < len(jobs):
            text += "; waiting for a device"
        self._line("measure", text, done * launches)

    def _outcome(self, trial: Trial, job: Job) -> Entrant:
        if not job.measurement_id:
            reason = job.error or f"the job was {job.state.value}"
            return Entrant(replace(trial, outcome_reason=f"not measured: {reason}"))
        return self._measured(trial, self._store.measurement(job.measurement_id))

    def _measured(self, trial: Trial, measurement: Measurement) -> Entrant:
        trial = replace(
            trial,
            measurement_ids=(*trial.measurement_ids, measurement.measurement_id),
            outcome=measurement.outcome,
            outcome_reason=measurement.reason,
        )
        if measurement.emulated:
            # Without a score no page, picture, sampler or verdict can mistake it for a phone's.
            return Entrant(replace(trial, outcome_reason=_emulated(measurement)), emulated=True)
        summary = summary_of(self._store, measurement)
        if summary is None:
            return Entrant(trial)
        scored = replace(trial, score=score(_exported(trial), summary, measurement.energy))
        if not summary.stable:
            reason = f"{UNSTABLE}: launches differ by {summary.launch_cv:.0%}"
            scored = replace(scored, outcome_reason=reason)
        return Entrant(scored, summary.stable, measurement.emulated)


def _exported(trial: Trial) -> Exported:
    if trial.exported is None:
        raise ValueError(f"{trial.trial_id} was not built")
    return trial.exported


def _emulated(measurement: Measurement) -> str:
    there = measurement.outcome.value + (f": {measurement.reason}" if measurement.reason else "")
    return f"{EMULATED}: {there}; what an emulated device does says nothing of a real one"


def _with(trial: Trial, built: Exported | Refusal | None) -> Trial:
    if isinstance(built, Exported):
        return replace(trial, exported=built)
    return replace(trial, refusal=built or trial.refusal)


def _built(candidate: Candidate, built: Exported | Refusal) -> str:
    if isinstance(built, Refusal):
        return f"{candidate}: refused by {built}"
    return (
        f"{candidate}: {built.artifact.size_bytes / 1000:,.0f} kB,"
        f" {built.quality.metric} {built.quality.value:.4f}"
    )
