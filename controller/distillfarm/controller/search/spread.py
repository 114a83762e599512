"""Candidates that lie far apart, for a first look while nothing is known."""

from collections.abc import Sequence

import numpy as np

from distillfarm.controller.search.process import Matrix


def spread(points: Matrix, seen: Sequence[int], count: int) -> list[int]:
    """``count`` rows, each as far as can be from all before it and from those that were seen.

    The first of all is the one nearest to the middle. Gonzalez, "Clustering to minimize the
    maximum intercluster distance", 1985.
    """
    chosen: list[int] = []
    if not seen:
        middle = points - points.mean(axis=0)
        chosen.append(int(np.argmin((middle**2).sum(axis=1))))
    distances = np.full(len(points), np.inf)
    for row in (*seen, *chosen):
        distances = np.minimum(distances, ((points - points[row]) ** 2).sum(axis=1))
    while len(chosen) < count:
        row = int(np.argmax(distances))
        chosen.append(row)
        distances = np.minimum(distances, ((points - points[row]) ** 2).sum(axis=1))
    return chosen
