"""A search before it has begun: what a chipset may be offered, its race and its pursuit; pure."""

from distillfarm.compression import candidates, samplers
from distillfarm.controller.lab import ChipsetLab
from distillfarm.controller.search.pursuit import Pursuit
from distillfarm.controller.search.race import Race
from distillfarm.controller.searching import Search
from distillfarm.domain.model import Analysis
from distillfarm.domain.study import StudySpec
from distillfarm.domain.variant import Candidate


def search_on(place: ChipsetLab, analysis: Analysis, spec: StudySpec) -> Search:
    """A search that has not begun."""
    race, pursuit = contest_of(place, spec)
    if spec.recipes:
        space = [Candidate(recipe, target) for recipe in spec.recipes for target in place.targets]
        return Search(
            place, spec, samplers.create("grid", space, spec.seed), len(space), race, pursuit
        )
    space = [
        each
        for each in candidates.propose(analysis, place.targets)
        if each.recipe.passes  # the untouched model is the reference beside the search
    ]
    budget = spec.budget.trials_per_target * len(place.targets)
    sampler = samplers.create("tpe", space, spec.seed)
    return Search(place, spec, sampler, min(budget, len(space)), race, pursuit)


def contest_of(place: ChipsetLab, spec: StudySpec) -> tuple[Race, Pursuit]:
    """The race of a chipset's candidates, and the pursuit that spends launches on it."""
    most, most_fresh = spec.budget.launches, spec.max_final_launches
    race = Race(place.chipset, spec.sla, spec.objective, spec.launches, most, most_fresh)
    phones = max(min(spec.phones, len(place.phones)), 1)
    return race, Pursuit(race, most, spec.final_launches, most_fresh, phones)
