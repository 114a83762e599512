"""The study, from a model file to a signed bundle: one durable workflow, readable in one page.

The workflow is replayed from its start after a crash; what ``step`` has done once is read back.
Nothing between the steps looks at a clock, a device or a random number.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import structlog
from dbos import DBOS, DBOSConfiguredInstance

from distillfarm.controller import durable
from distillfarm.controller.contests import search_on
from distillfarm.controller.hunt import Asked, Ended, Hunt, hunt_on
from distillfarm.controller.judgement import Judgement
from distillfarm.controller.lab import ChipsetLab
from distillfarm.controller.orders import Order, Taken
from distillfarm.controller.search.learning import Measured
from distillfarm.controller.searching import Search, share
from distillfarm.controller.stages import Stages
from distillfarm.controller.tools import Tools
from distillfarm.domain.errors import Cancelled, FarmError
from distillfarm.domain.model import Analysis
from distillfarm.domain.study import Choice, StudyState, Trial
from distillfarm.domain.variant import Variant

# Raise it whenever the sequence of steps changes: a study begun by another version starts anew,
# which is cheap, since everything that it built and measured is found again by its key.
VERSION = "4"

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
        in_time = _look_first(stages, searches, earlier, started_s)

    stages.telling.progress.settle("compress", 0)
    hunts = [hunt_on(each, references) for each in searches]
    _hunt(stages, hunts, earlier, started_s)
    ends = _step(stages, "rank", 0, lambda: [each.ended() for each in hunts], list[Ended])
    found = [each.found(end) for each, end in zip(hunts, ends, strict=True)]
    _step(stages, "decide", 1, lambda: stages.decide(found), list[Choice])
    _step(stages, "bundle", 0, stages.bundle, None)


def _proposed(stages: Stages, searches: Sequence[Search]) -> list[Trial]:
    return [trial for each in searches for trial in stages.proposed(each.place, each.propose())]


def _build(stages: Stages, model: Variant, trials: Sequence[Trial]) -> list[Trial]:
    count = len({each.candidate for each in trials if each.refusal is None})
    return _step(stages, "compress", count, lambda: stages.compress(model, trials), list[Trial])


def _look_first(
    stages: Stages, searches: Sequence[Search], earlier: Sequence[Measured], started_s: float
) -> bool:
    """Launch what the races ask for first, in rounds; whether there is time left.

    While more is to be built nobody is launched again: what is built later may be better than all
    that is there, and then nobody needs to know which of those was the best.
    """
    running = [each for each in searches if not each.over]
    in_time = True
    while in_time and (orders := _first_orders(stages, searches, earlier)):
        taken = _measure(stages, orders)
        for each in searches:
            each.tell(taken)
        in_time = _step(stages, "look at the time", 0, lambda: stages.in_time(started_s), bool)
    for each in searches:
        each.inform_sampler()
    _keep(stages, searches, running)
    return in_time


def _first_orders(
    stages: Stages, searches: Sequence[Search], earlier: Sequence[Measured]
) -> list[Order]:
    def ask() -> list[Order]:
        share(searches, earlier)
        return stages.measuring.recall([o for each in searches for o in each.first_looks()])

    # A step, so that a replay asks for what was asked for, whatever its arithmetic says by a hair.
    orders = _step(stages, "ask first", 0, ask, list[Order])
    still = max(sum(each.expected() for each in searches), sum(each.to_make for each in orders))
    places = [each.place for each in searches]
    stages.telling.progress.settle("measure", still + _final_launches(stages, places))
    return orders


def _hunt(
    stages: Stages, hunts: Sequence[Hunt], earlier: Sequence[Measured], started_s: float
) -> None:
    """Race and verify on all chipsets in common rounds, until nothing better is in sight."""
    searches = [each.search for each in hunts]
    running = [each for each in searches if not each.over]
    while orders := _orders(stages, hunts, earlier, started_s):
        taken = _measure(stages, orders)
        judged = _judge(stages, taken, [gone for each in hunts for gone in each.judges.gone])
        for each in hunts:
            each.tell(taken, judged)
    _keep(stages, searches, running)
    stages.telling.progress.settle("measure", 0)


def _orders(
    stages: Stages, hunts: Sequence[Hunt], earlier: Sequence[Measured], started_s: float
) -> list[Order]:
    """The next round of launches on all chipsets, each knowing what the others have measured."""
    there = _step(stages, "look again", 0, stages.look_at_devices, tuple[ChipsetLab, ...])
    for each in hunts:
        each.look_again(there)

    def ask() -> list[Asked]:
        in_time = stages.in_time(started_s)
        share([each.search for each in hunts], earlier)
        asked = [each.ask(in_time=in_time) for each in hunts]
        return [replace(e, raced=tuple(stages.measuring.recall(e.raced))) for e in asked]

    asked = _step(stages, "ask", 0, ask, list[Asked])
    orders = [o for each, said in zip(hunts, asked, strict=True) for o in each.orders(said)]
    still = max(sum(each.expected() for each in hunts), sum(each.to_make for each in orders))
    stages.telling.progress.settle("measure", still)
    return orders


def _keep(stages: Stages, searches: Sequence[Search], running: Sequence[Search]) -> None:
    """Write down how all trials stand, and say which searches ended of those that ran before."""
    trials = [trial for each in searches for trial in each.trials()]
    ended = [f"{each.place.chipset}: {each.why_over}" for each in running if each.over]
    _step(stages, "keep", 0, lambda: stages.keep(trials, ended), None)


def _measure(stages: Stages, orders: Sequence[Order]) -> list[Taken]:
    units = sum(each.to_make for each in orders)
    return _step(stages, "measure", units, lambda: stages.measuring.take(orders), list[Taken])


def _judge(stages: Stages, taken: Sequence[Taken], gone: Sequence[str]) -> dict[str, Judgement]:
    fresh = [each for each in taken if each.trial.final]
    if not fresh:
        return {}
    judged = _step(stages, "judge", 0, lambda: stages.judge(fresh, gone), list[Judgement])
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
