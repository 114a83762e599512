"""A built candidate as the search on one chipset sees it: what the host knows of it already."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from distillfarm.controller.search.features import Features
from distillfarm.domain.interval import Interval
from distillfarm.domain.study import Metric
from distillfarm.domain.variant import Exported


@dataclass(frozen=True)
class Arm:
    """``known`` needs no launch: the accuracy drop on the selection split, the size."""

    key: str
    features: Features
    known: Mapping[Metric, Interval]


def arm(key: str, exported: Exported) -> Arm:
    """A candidate as it was built, with the host's quantities."""
    size = float(exported.artifact.size_bytes)
    known = {
        Metric.ACCURACY_DROP: exported.quality_drop,
        Metric.SIZE: Interval(size, size, size),
    }
    return Arm(key, features_of(exported), known)


def features_of(exported: Exported) -> Features:
    """Where it runs, each pass with its settings, and how large it came out."""
    target, recipe = exported.candidate.target, exported.candidate.recipe
    choices = {
        "runtime": target.runtime.value,
        "delegate": f"{target.runtime.value}/{target.delegate}",
        "unit": target.unit.value,
    }
    for each in recipe.passes:
        # A pass that comes several times is one choice: how it comes.
        name = f"pass {each.name}"
        choices[name] = "+".join(filter(None, (choices.get(name, ""), str(each))))
    numbers = (
        ("log parameters", math.log(max(exported.parameters, 1))),
        ("log size", math.log(max(exported.artifact.size_bytes, 1))),
    )
    return Features(tuple(sorted(choices.items())), numbers)
