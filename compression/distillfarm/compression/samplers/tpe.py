"""Multi-objective search with Optuna's tree-structured Parzen estimator and SLA constraints."""

from collections.abc import Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import TrialState, create_trial

from distillfarm.compression.candidates import QUANTISERS
from distillfarm.compression.protocols import Observation
from distillfarm.domain.variant import Candidate, Recipe

# Candidates of the space's own order to look at before the estimator has anything to say.
_BLIND_LOOKS = 4
_TRIES_PER_ASK = 50
_TARGET, _QUANTISED = "target", "quantised"


class TpeSampler:
    """Proposes untried candidates that promise to extend the Pareto front within the SLA.

    A pure function of space, seed and what it was told: a fresh Optuna study is filled with the
    history at every ``ask``, so that a study that was killed proposes the same when replayed. The
    estimator sees a candidate as its target, its quantisation, and each way to train apart: what
    it learns of ``prune(ratio=0.7)`` holds with and without a student. Bergstra et al.,
    "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011; the multi-objective form is Ozaki
    et al., "Multiobjective Tree-Structured Parzen Estimator", JAIR 2022.
    """

    def __init__(self, space: Sequence[Candidate], seed: int) -> None:
        self._space = tuple(dict.fromkeys(space))
        self._seed = seed
        self._told: dict[Candidate, Observation] = {}
        self._asked: dict[Candidate, None] = {}
        self._trainers = _trainers(self._space)
        self._distributions = self._seen_choices() if self._space else {}

    def ask(self, count: int) -> Sequence[Candidate]:
        """Untried candidates: first a few in the space's order, then the estimator's choice."""
        chosen: list[Candidate] = []
        while len(chosen) < count and (untried := self._untried()):
            blind = len(self._asked) < _BLIND_LOOKS
            candidate = untried[0] if blind else self._estimate(untried)
            self._asked[candidate] = None
            chosen.append(candidate)
        return chosen

    def tell(self, observation: Observation) -> None:
        """Learn a score, a refusal, or what was tried before this sampler was made."""
        self._asked.setdefault(observation.candidate)
        self._told[observation.candidate] = observation

    def _untried(self) -> list[Candidate]:
        return [each for each in self._space if each not in self._asked]

    def _estimate(self, untried: Sequence[Candidate]) -> Candidate:
        study = self._study()
        if study is None:
            return untried[0]
        # Of several with the same features, orders of the same passes, the first comes first.
        by_features = {tuple(self._features(each).values()): each for each in reversed(untried)}
        for _ in range(_TRIES_PER_ASK):
            trial = study.ask(self._distributions)
            chosen = by_features.get(tuple(trial.params[name] for name in self._distributions))
            if chosen is not None:
                return chosen
            study.tell(trial, state=TrialState.FAIL)
        return untried[0]

    def _study(self) -> optuna.Study | None:
        scored = [each for each in self._told.values() if each.objectives is not None]
        if not scored or scored[0].objectives is None:
            return None
        sampler = optuna.samplers.TPESampler(
            seed=self._seed + len(self._asked), n_startup_trials=0, multivariate=True
        )
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            directions=["minimize"] * len(scored[0].objectives), sampler=sampler
        )
        for observation in scored:
            study.add_trial(
                create_trial(
                    params=self._features(observation.candidate),
                    distributions=self._distributions,
                    values=list(observation.objectives or ()),
                    constraints={
                        str(index): violation
                        for index, violation in enumerate(observation.violations or ())
                    },
                )
            )
        return study

    def _features(self, candidate: Candidate) -> dict[str, str]:
        """A candidate as the estimator sees it: target, quantisation, each way to train.

        A bit of structure is worth many trials: with passes by position the estimator was no
        better than chance on the conformance test's landscape, because a recipe without training
        moves its quantiser to the first place.
        """
        passes = candidate.recipe.passes
        quantised = Recipe(tuple(each for each in passes if each.name in QUANTISERS))
        trained = {
            name: str(Recipe(tuple(each for each in passes if each.name == name)))
            for name in self._trainers
        }
        return {_TARGET: str(candidate.target), _QUANTISED: str(quantised), **trained}

    def _seen_choices(self) -> dict[str, BaseDistribution]:
        rows = [self._features(each) for each in self._space]
        return {
            name: CategoricalDistribution(sorted({row[name] for row in rows})) for name in rows[0]
        }


def _trainers(space: Sequence[Candidate]) -> tuple[str, ...]:
    """The passes that train, by name."""
    names = {each.name for candidate in space for each in candidate.recipe.passes}
    return tuple(sorted(names.difference(QUANTISERS)))
