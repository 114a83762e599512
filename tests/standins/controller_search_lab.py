"""Candidates with true latencies, and launches of them with noise, for the tests of the search."""

import numpy as np

from distillfarm.controller.search.arms import Arm
from distillfarm.controller.search.features import Features
from distillfarm.controller.search.race import Race
from distillfarm.domain.interval import Interval
from distillfarm.domain.study import Bound, Metric, Sla
from distillfarm.statistics.summary import LaunchValues

LIMIT_MS = 10.0
SLA = Sla((Bound(Metric.ACCURACY_DROP, 2.0), Bound(Metric.WARM_P90, LIMIT_MS)))


def arm(key: str, drop: float = 1.0, width: float = 0.0) -> Arm:
    known = {Metric.ACCURACY_DROP: Interval(drop, drop - 0.1, drop + 0.1)}
    return Arm(key, Features((("recipe", key),), (("width", width),)), known)


def values(*warm_ms: float) -> LaunchValues:
    rest = (1.0,) * len(warm_ms)
    return LaunchValues(rest, rest, rest, warm_ms, warm_ms, warm_ms, rest)


class Phone:
    """Launches candidates of known latency; one launch in ten is half as slow again."""

    def __init__(self, latency_ms: dict[str, float], seed: int, variation: float = 0.03) -> None:
        self.latency_ms = latency_ms
        self.made: dict[str, int] = dict.fromkeys(latency_ms, 0)
        self._random = np.random.default_rng(seed)
        self._variation = variation

    def launch(self, key: str, count: int) -> LaunchValues:
        self.made[key] += count
        noise = np.exp(self._variation * self._random.standard_normal(count))
        noise *= np.where(self._random.random(count) < 0.1, 1.5, 1.0)
        return values(*map(float, self.latency_ms[key] * noise))


def finish(race: Race, phone: Phone) -> None:
    while looks := race.ask():
        for look in looks:
            race.tell(look.key, phone.launch(look.key, look.launches))
