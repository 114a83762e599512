"""What each stage of a study does; every method may be repeated from its start after a crash."""

import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from distillfarm.compression import compress
from distillfarm.controller import decide
from distillfarm.controller.bundle import build_bundle
from distillfarm.controller.decide import Found
from distillfarm.controller.judgement import Judgement, judgement
from distillfarm.controller.lab import ChipsetLab, survey
from distillfarm.controller.measuring import Measuring
from distillfarm.controller.orders import Taken
from distillfarm.controller.readings import evidence_by_device
from distillfarm.controller.recollection import recollected
from distillfarm.controller.search.learning import Measured
from distillfarm.controller.telling import LOOK_EVERY_S, Telling
from distillfarm.controller.tools import Tools
from distillfarm.domain.errors import NoCapacity
from distillfarm.domain.ids import derived_id
from distillfarm.domain.model import Analysis
from distillfarm.domain.study import Choice, Study, StudySpec, StudyState, Trial
from distillfarm.domain.variant import Candidate, Exported, Recipe, Refusal, Variant


class Stages:
    """The stages of one study, in the order of their methods."""

    def __init__(self, tools: Tools, study: Study) -> None:
        self._tools = tools
        self._store = tools.store
        self.spec: StudySpec = study.spec
        self.telling = Telling(tools, study)
        self.measuring = Measuring(tools, self.telling)
        self._say = self.telling.say

    def find_devices(self) -> tuple[ChipsetLab, ...]:
        """Wait until a device that is meant by the selector is there; then look at all of them.

        Raises:
            NoCapacity: none appeared in time.
        """
        self.telling.put(state=StudyState.RUNNING)
        deadline = time.monotonic() + self._tools.wait_for_devices_s
        while True:
            lab = self.look_at_devices()
            if lab:
                return lab
            if time.monotonic() > deadline:
                raise NoCapacity(
                    f"no usable device matches {self.spec.selector!r}; start an agent, or look at"
                    " `distillfarm devices list`"
                )
            self.telling.line("ingest", f"waiting for a device that matches {self.spec.selector!r}")
            self.telling.cancelled()
            time.sleep(LOOK_EVERY_S)

    def look_at_devices(self) -> tuple[ChipsetLab, ...]:
        """The chipsets that are there at this moment."""
        devices = self._store.devices(self.spec.selector)
        return survey(devices, self.spec.targets, self.spec.selector)

    def ingest(self) -> Variant:
        """Read the model.

        Raises:
            ModelRejected: the file is hostile, broken or of an unknown format.
        """
        name = self.spec.model.artifact.name
        self._say("ingest", f"reading {name}")
        report = self.telling.reporter("ingest")
        return self._tools.compressor.ingest(
            self.spec.model, self.spec.data, report, self.telling.cancelled
        )

    def analyse(self, model: Variant) -> Analysis:
        """Find out what the model is made of."""
        analysis = self._tools.compressor.analyse(
            model, self.spec.data, self.telling.reporter("analyse"), self.telling.cancelled
        )
        self.telling.put(analysis=analysis)
        found = f"; {analysis.bottlenecks[0]}" if analysis.bottlenecks else ""
        self._say(
            "analyse", f"{analysis.parameters:,} parameters, {analysis.macs:,} MACs a sample{found}"
        )
        return analysis

    def recollect(self) -> list[Measured]:
        """What other studies measured, for the search to learn from."""
        earlier = recollected(self._store, self.telling.study_id)
        if earlier:
            self._say("propose", f"the search learns from {len(earlier)} trials of other studies")
        return earlier

    def references(self, lab: Sequence[ChipsetLab]) -> list[Trial]:
        """The untouched model as trials: one for each chipset and target asked for."""
        trials: list[Trial] = []
        for place in lab:
            if place.emulated:
                self._say("propose", f"{place.chipset} has emulated devices only: none is chosen")
            originals = [Candidate(Recipe(), target) for target in place.targets]
            trials.extend(self._trial(place, each, "reference") for each in originals)
            for each in place.unsupported:
                self._say("propose", f"{place.chipset} cannot run {each.target}: {each.reason}")
                trial = self._trial(place, Candidate(Recipe(), each.target), "reference")
                trials.append(replace(trial, refusal=Refusal("device", each.reason)))
        return [replace(each, reference=True) for each in trials]

    def proposed(self, place: ChipsetLab, candidates: Sequence[Candidate]) -> list[Trial]:
        """A chipset's candidates as trials."""
        return [self._trial(place, each, "search") for each in candidates]

    def compress(self, model: Variant, trials: Sequence[Trial]) -> list[Trial]:
        """Build every candidate once, whatever number of chipsets asked for it.

        What is trained begins first, lest a worker is left with it when all others are done.
        """
        wanted = list(dict.fromkeys(each.candidate for each in trials if each.refusal is None))
        wanted.sort(key=lambda each: -compress.trainings(each.recipe))
        built: dict[Candidate, Exported | Refusal] = {}

        def build(candidate: Candidate) -> None:
            built[candidate] = self._tools.compressor.compress(
                model,
                candidate.recipe,
                candidate.target,
                dataset=self.spec.data,
                seed=self.spec.seed,
                report=self.telling.reporter("compress", lambda: float(len(built))),
                cancelled=self.telling.cancelled,
            )
            self._say("compress", _built(candidate, built[candidate]), float(len(built)))

        with ThreadPoolExecutor(max_workers=max(len(wanted), 1)) as pool:
            for done in [pool.submit(build, each) for each in wanted]:
                done.result()
        results = [_with(each, built.get(each.candidate)) for each in trials]
        self.keep(results, ())
        return results

    def keep(self, trials: Sequence[Trial], told: Sequence[str]) -> None:
        """Write trials down as they stand, and say what there is to say of it."""
        for each in trials:
            self._store.put_trial(each)
        for text in told:
            self._say("measure", text)

    def in_time(self, started_s: float) -> bool:
        """Whether some of the wall time of the budget is left."""
        return time.time() - started_s <= self.spec.budget.wall_s

    def now_s(self) -> float:
        """Unix seconds."""
        return time.time()

    def judge(self, taken: Sequence[Taken], gone: Collection[str]) -> list[Judgement]:
        """How all fresh launches of the trials are judged; ``gone`` are devices lost before."""
        lost = {*gone, *(each.device_id for each in taken if not each.measured)}
        known = [each.trial for each in taken if each.measured or each.trial.measurement_ids]
        trials = {each.trial_id: each for each in known}
        return [
            judgement(key, self.spec.sla, evidence_by_device(self._store, trial), lost)
            for key, trial in trials.items()
        ]

    def decide(self, found: Sequence[Found]) -> list[Choice]:
        """Choose for every chipset."""
        choices = [decide.choose(each, self.spec.sla, self.spec.objective) for each in found]
        self.telling.put(choices=tuple(choices))
        for choice in choices:
            verdict = choice.verdict.verdict.value.upper()
            self._say("decide", f"{choice.chipset}: {verdict}. {choice.why}")
        return choices

    def bundle(self) -> None:
        """Write, sign and store what is delivered; the study is then DONE."""
        self._say("bundle", "writing the bundle")
        study = self._store.study(self.telling.study_id)
        finished = replace(study, state=StudyState.DONE, finished_at_s=time.time())
        artifact = build_bundle(finished, self._store, self._tools.blobs, self._tools.signing_key)
        self.telling.progress.finish("bundle", 1, 0.0)
        self._say("bundle", f"bundle {artifact.name}, {artifact.size_bytes:,} bytes")
        self._store.put_study(replace(finished, bundle=artifact))

    def _trial(self, place: ChipsetLab, candidate: Candidate, phase: str) -> Trial:
        study_id = self.telling.study_id
        trial_id = derived_id("trial", study_id, place.chipset, str(candidate), phase)
        return Trial(trial_id, study_id, place.chipset, candidate)


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
