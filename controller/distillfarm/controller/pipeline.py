"""The study, from a model file to a signed bundle: one durable workflow, readable in one page.

The workflow is replayed from its start after a crash; what ``step`` has done once is read back.
Nothing between the steps looks at a clock, a device or a random number.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import structlog
from dbos import DBOS, DBOSConfiguredInstance

from distillfarm.compression import candidates, samplers
from distillfarm.compression.protocols import Sampler
from distillfarm.controller import durable
from distillfarm.controller.decide import Entrant, lost
from distillfarm.controller.lab import ChipsetLab
from distillfarm.controller.scoring import observation
from distillfarm.controller.stages import Stages, Tools
from distillfarm.domain.errors import Cancelled, FarmError
from distillfarm.domain.model import Analysis
from distillfarm.domain.study import Choice, Sla, StudySpec, StudyState, Trial
from distillfarm.domain.variant import Candidate, Variant

# Raise it whenever the sequence of steps changes: a study begun by another version starts anew,
# which is cheap, since everything that it built and measured is found again by its key.
VERSION = "2"
# Candidates asked for at once, for each target: the sampler learns between rounds.
_ROUND = 2

_log = structlog.get_logger(__name__)
T = TypeVar("T")


@dataclass
class Search:
    """The search on one chipset: its sampler, and how many candidates it may still ask for."""

    place: ChipsetLab
    sampler: Sampler
    left: int
    trials: list[Entrant] = field(default_factory=list)

    def ask(self) -> Sequence[Candidate]:
        """The next candidates; none when the budget or the space is used up."""
        asked = self.sampler.ask(min(self.left, _ROUND * len(self.place.targets)))
        self.left = self.left - len(asked) if asked else 0
        return asked

    def tell(self, entrants: Sequence[Entrant], sla: Sla) -> None:
        """Learn what became of the candidates that were tried on this chipset.

        Where none of them could be measured its devices are gone or broken: the search ends there,
        lest every other chipset waits for them in every round. What was found stands.
        """
        here = [each for each in entrants if each.trial.chipset == self.place.chipset]
        for entrant in here:
            self.trials.append(entrant)
            self.sampler.tell(observation(entrant.trial, sla))
        if lost(here):
            self.left = 0


@DBOS.dbos_class()
class Pipeline(DBOSConfiguredInstance):
    """Runs studies; there is one in a controller."""

    def __init__(self, tools: Tools) -> None:
        super().__init__("pipeline")
        self._tools = tools

    @DBOS.workflow(name="study")
    def study(self, study_id: str) -> None:
        """Search, decide and deliver; every way to end is written into the study's record."""
        stages = Stages(self._tools, self._tools.store.study(study_id))
        try:
            _search(stages)
        except Cancelled as error:
            stages.end(StudyState.CANCELLED, str(error))
        except FarmError as error:
            stages.end(StudyState.FAILED, str(error))
        except Exception:
            _log.exception("study failed", study_id=study_id)
            stages.end(StudyState.FAILED, "internal error; the controller's log has the details")
            raise


def _search(stages: Stages) -> None:
    spec = stages.spec
    started_s = _step(stages, "start", 0, stages.now_s, float)
    lab = _step(stages, "find devices", 0, stages.find_devices, tuple[ChipsetLab, ...])
    _plan(stages, spec, lab)

    model = _step(stages, "ingest", 1, stages.ingest, Variant)
    analysis = _step(stages, "analyse", 1, lambda: stages.analyse(model), Analysis)
    searches = [_search_on(place, analysis, spec) for place in lab]
    references = _build(stages, model, stages.references(lab))

    while asked := [
        trial for each in searches for trial in stages.proposed(each.place, each.ask())
    ]:
        built = _build(stages, model, asked)
        measured = _measure(stages, built, lab, spec.launches)
        for each in searches:
            each.tell(measured, spec.sla)
        if _step(stages, "look at the time", 0, lambda: stages.out_of_time(started_s), bool):
            break

    best = [
        trial
        for each in searches
        for trial in stages.finalists(each.trials, references, each.place)
    ]
    _settle(stages, spec, len(best))
    finals = _measure(stages, best, lab, spec.final_launches, final=True)
    if unstable := [each.trial for each in finals if each.unstable]:
        # Disturbed once: measured again for longer, whatever that shows; both are kept.
        again = _measure(stages, unstable, lab, 2 * spec.final_launches, final=True)
        finals = [*(each for each in finals if not each.unstable), *again]
    others = [*map(Entrant, references), *(entrant for each in searches for entrant in each.trials)]
    _step(stages, "decide", 1, lambda: stages.decide(lab, finals, others), list[Choice])
    _step(stages, "bundle", 0, stages.bundle, None)


def _search_on(place: ChipsetLab, analysis: Analysis, spec: StudySpec) -> Search:
    if spec.recipes:
        space = [Candidate(recipe, target) for recipe in spec.recipes for target in place.targets]
        return Search(place, samplers.create("grid", space, spec.seed), len(space))
    space = [
        each
        for each in candidates.propose(analysis, place.targets)
        if each.recipe.passes  # the untouched model is the reference beside the search
    ]
    budget = spec.budget.trials_per_target * len(place.targets)
    return Search(place, samplers.create("tpe", space, spec.seed), min(budget, len(space)))


def _build(stages: Stages, model: Variant, trials: Sequence[Trial]) -> list[Trial]:
    count = len({each.candidate for each in trials if each.refusal is None})
    return _step(stages, "compress", count, lambda: stages.compress(model, trials), list[Trial])


def _measure(
    stages: Stages,
    trials: Sequence[Trial],
    lab: Sequence[ChipsetLab],
    launches: int,
    *,
    final: bool = False,
) -> list[Entrant]:
    return _step(
        stages,
        "measure",
        launches * sum(each.exported is not None for each in trials),
        lambda: stages.measure(trials, lab, launches, fresh=final),
        list[Entrant],
    )


def _plan(stages: Stages, spec: StudySpec, lab: Sequence[ChipsetLab]) -> None:
    targets = {target for place in lab for target in place.targets}
    pairs = sum(len(place.targets) for place in lab)
    trials = len(spec.recipes) or spec.budget.trials_per_target
    stages.progress.planned = {
        "ingest": 1,
        "analyse": 1,
        "compress": len(targets) * (1 + trials),
        "measure": pairs * trials * spec.launches + (pairs + 2 * len(lab)) * spec.final_launches,
        "decide": 1,
        "bundle": 1,
    }


def _settle(stages: Stages, spec: StudySpec, finalists: int) -> None:
    """The search is over: only what is still to come counts as planned."""
    stages.progress.settle("compress", 0)
    stages.progress.settle("measure", finalists * spec.final_launches)


def _step(stages: Stages, stage: str, units: int, work: Callable[[], T], kind: object) -> T:
    result, seconds = durable.step(stage, work, kind)
    if units:
        stages.progress.finish(stage, units, seconds)
    return result
