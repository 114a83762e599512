"""The study, from a model file to a signed bundle: one durable workflow, readable in one page.

The workflow is replayed from its start after a crash; what ``step`` has done once is read back.
Nothing between the steps looks at a clock, a device or a random number.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog
from dbos import DBOS, DBOSConfiguredInstance

from distillfarm.controller import durable
from distillfarm.controller.finals import Finals, finals_of
from distillfarm.controller.judgement import Judgement
from distillfarm.controller.lab import ChipsetLab
from distillfarm.controller.orders import Order, Taken
from distillfarm.controller.search.race import Measured
from distillfarm.controller.searching import Search, search_on
from distillfarm.controller.stages import Stages
from distillfarm.controller.tools import Tools
from distillfarm.domain.errors import Cancelled, FarmError
from distillfarm.domain.model import Analysis
from distillfarm.domain.study import Choice, StudyState, Trial
from distillfarm.domain.variant import Variant

# Raise it whenever the sequence of steps changes: a study begun by another version starts anew,
# which is cheap, since everything that it built and measured is found again by its key.
VERSION = "3"

_log = structlog.get_logger(__name__)
T = TypeVar("T")


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
            run_study(stages)
        except Cancelled as error:
            stages.telling.end(StudyState.CANCELLED, str(error))
        except FarmError as error:
            stages.telling.end(StudyState.FAILED, str(error))
        except Exception:
            _log.exception("study failed", study_id=study_id)
            told = "internal error; the controller's log has the details"
            stages.telling.end(StudyState.FAILED, told)
            raise


def run_study(stages: Stages) -> None:
    """The flow of a study, from its first step to its bundle."""
    started_s = _step(stages, "start", 0, stages.now_s, float)
    lab = _step(stages, "find devices", 0, stages.find_devices, tuple[ChipsetLab, ...])
    _plan(stages, lab)

    model = _step(stages, "ingest", 1, stages.ingest, Variant)
    analysis = _step(stages, "analyse", 1, lambda: stages.analyse(model), Analysis)
    earlier = _step(stages, "recollect", 0, stages.recollect, list[Measured])
    searches = [search_on(place, analysis, stages.spec) for place in lab]
    references = _build(stages, model, stages.references(lab))

    in_time = True
    while in_time and (asked := _proposed(stages, searches)):
        built = _build(stages, model, asked)
        for each in searches:
            each.enter(built)
        in_time = _race(stages, searches, earlier, started_s, first_looks=True)
    if in_time:
        _race(stages, searches, earlier, started_s)

    there = _step(stages, "look again", 0, stages.look_at_devices, tuple[ChipsetLab, ...])
    ranks = _step(stages, "rank", 0, lambda: [each.ranking() for each in searches], list[list[str]])
    finals = [
        finals_of(each, rank, there, references) for each, rank in zip(searches, ranks, strict=True)
    ]
    _verify(stages, finals)
    found = [each.found() for each in finals]
    _step(stages, "decide", 1, lambda: stages.decide(found), list[Choice])
    _step(stages, "bundle", 0, stages.bundle, None)


def _proposed(stages: Stages, searches: Sequence[Search]) -> list[Trial]:
    return [trial for each in searches for trial in stages.proposed(each.place, each.propose())]


def _build(stages: Stages, model: Variant, trials: Sequence[Trial]) -> list[Trial]:
    count = len({each.candidate for each in trials if each.refusal is None})
    return _step(stages, "compress", count, lambda: stages.compress(model, trials), list[Trial])


def _race(
    stages: Stages,
    searches: Sequence[Search],
    earlier: Sequence[Measured],
    started_s: float,
    *,
    first_looks: bool = False,
) -> bool:
    """Launch what the races ask for, in rounds over all candidates; whether there is time left.

    While more is to be built only ``first_looks`` are taken: what is built later may be better
    than all that is there, and then nobody needs to know which of those was the best.
    """
    running = [each for each in searches if not each.over]
    in_time = True
    while in_time and (orders := _ordered(stages, searches, earlier, first_looks=first_looks)):
        taken = _measure(stages, orders)
        for each in searches:
            each.tell(taken)
        in_time = _step(stages, "look at the time", 0, lambda: stages.in_time(started_s), bool)
    for each in searches:
        each.inform_sampler()
    trials = [trial for each in searches for trial in each.trials()]
    ended = [f"{each.place.chipset}: {each.why_over}" for each in running if each.over]
    _step(stages, "keep", 0, lambda: stages.keep(trials, ended), None)
    return in_time


def _ordered(
    stages: Stages, searches: Sequence[Search], earlier: Sequence[Measured], *, first_looks: bool
) -> list[Order]:
    """The next round of launches on all chipsets, each knowing what the others have measured."""
    known = [*earlier, *(measured for each in searches for measured in each.measured())]

    def ask() -> list[Order]:
        for each in searches:
            each.learn(known)
        wanted = [o for each in searches for o in each.orders(first_looks=first_looks)]
        return stages.measuring.recall(wanted)

    # A step, so that a replay asks for what was asked for, whatever its arithmetic says by a hair.
    orders = _step(stages, "ask", 0, ask, list[Order])
    still = max(sum(each.expected() for each in searches), sum(each.to_make for each in orders))
    places = [each.place for each in searches]
    stages.telling.progress.settle("measure", still + _final_launches(stages, places))
    return orders


def _verify(stages: Stages, finals: Sequence[Finals]) -> None:
    """Launch the best anew, in rounds over all chipsets, until each bound is decided."""
    progress = stages.telling.progress
    progress.settle("compress", 0)
    progress.settle("measure", _final_launches(stages, [each.place for each in finals]))
    while orders := [order for each in finals for order in each.orders()]:
        taken = _measure(stages, orders)
        judged = _judge(stages, taken, [dead for each in finals for dead in each.dead])
        for each in finals:
            each.tell(taken, judged)
    progress.settle("measure", 0)


def _measure(stages: Stages, orders: Sequence[Order]) -> list[Taken]:
    units = sum(each.to_make for each in orders)
    return _step(stages, "measure", units, lambda: stages.measuring.take(orders), list[Taken])


def _judge(stages: Stages, taken: Sequence[Taken], dead: Sequence[str]) -> dict[str, Judgement]:
    judged = _step(stages, "judge", 0, lambda: stages.judge(taken, dead), list[Judgement])
    return {each.trial_id: each for each in judged}


def _plan(stages: Stages, lab: Sequence[ChipsetLab]) -> None:
    spec = stages.spec
    targets = {target for place in lab for target in place.targets}
    pairs = sum(len(place.targets) for place in lab)
    trials = len(spec.recipes) or spec.budget.trials_per_target
    stages.telling.progress.planned = {
        "ingest": 1,
        "analyse": 1,
        "compress": len(targets) * (1 + trials),
        "measure": pairs * trials * spec.launches + _final_launches(stages, lab),
        "decide": 1,
        "bundle": 1,
    }


def _final_launches(stages: Stages, lab: Sequence[ChipsetLab]) -> int:
    """Launches to be expected after the search: the best on every phone, the originals on one."""
    spec = stages.spec
    runs = sum(min(spec.phones, len(place.phones)) + len(place.targets) for place in lab)
    return runs * spec.final_launches


def _step(stages: Stages, stage: str, units: int, work: Callable[[], T], kind: object) -> T:
    if units:
        stages.telling.progress.begin(stage, units)
    result, seconds = durable.step(stage, work, kind)
    if units:
        stages.telling.progress.finish(stage, units, seconds)
    return result
