"""A Gaussian process over candidates: what is smooth in their features, and what is each one's own.

Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006: algorithm 2.1, gradients by
(5.9), leaving one out by (5.12). scikit-learn's regressor takes 0.2 to 1 s for a fit of this size,
which a search makes dozens of times; with the distances at hand a fit takes about 10 ms.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

_LEVEL = 1.0
"""Prior variance of the level that all candidates share."""
# Medians and spreads of log-normal priors: variances of the linear part, of the smooth part, of
# what is learnt elsewhere and of each candidate's own, and the reach of the smooth part. Values
# have a scale of about 1, points a distance of 1 for every choice in which they differ.
_PRIOR = np.log(np.array([0.1, 0.1, 0.1, 0.003, 3.0]))
_PRIOR_SD = np.array([1.5, 1.5, 1.5, 1.5, 0.7])
_FARTHEST = 3.0
_STEPS = 12
_TINY = 1e-9


@dataclass(frozen=True)
class Inputs:
    """``points``: [n, d], by their features. ``elsewhere``: [n, c], by what others showed."""

    points: Matrix
    elsewhere: Matrix

    def rows(self, chosen: NDArray[np.intp]) -> "Inputs":
        """Some of them."""
        return Inputs(self.points[chosen], self.elsewhere[chosen])


@dataclass(frozen=True)
class _Parts:
    """The kernel's parts between two sets of inputs, before their variances."""

    linear: Matrix
    squares: Matrix
    elsewhere: Matrix

    @classmethod
    def between(cls, left: Inputs, right: Inputs) -> "_Parts":
        norms = (left.points**2).sum(1)[:, None] + (right.points**2).sum(1)[None]
        products = left.points @ right.points.T
        columns = max(left.elsewhere.shape[1], 1)
        return cls(
            products,
            np.maximum(norms - 2 * products, 0.0),
            left.elsewhere @ right.elsewhere.T / columns,
        )

    def smooth(self, reach: float) -> Matrix:
        near: Matrix = np.exp(-self.squares / (2 * reach**2))
        return near

    def covariance(self, theta: Vector) -> Matrix:
        linear, smooth, elsewhere, _, reach = np.exp(theta)
        total: Matrix = (
            linear * self.linear
            + smooth * self.smooth(float(reach))
            + elsewhere * self.elsewhere
            + _LEVEL
        )
        return total


class Process:
    """Fitted to ``values`` [n] at ``inputs`` that were seen with variances ``noise`` [n].

    ``theta`` are the logarithms of its settings; with ``start`` they are searched from there, with
    ``keep`` they stay what ``start`` says. ``odd`` [n] is variance that is each one's own beside
    what all share.
    """

    def __init__(
        self,
        inputs: Inputs,
        values: Vector,
        noise: Vector,
        start: Vector | None = None,
        *,
        keep: bool = False,
        odd: Vector | None = None,
    ) -> None:
        self._inputs, self._values, self._noise = inputs, values, noise
        self._odd = np.zeros(len(values)) if odd is None else odd
        self._parts = _Parts.between(inputs, inputs)
        self.theta = _PRIOR if start is None else start
        self.loss = 0.0
        if not keep:
            # Half a second of every start, that of a controller without studies, too.
            from scipy.optimize import Bounds, minimize  # noqa: PLC0415

            found = minimize(
                self._loss,
                self.theta,
                jac=True,
                method="L-BFGS-B",
                bounds=Bounds(_PRIOR - _FARTHEST * _PRIOR_SD, _PRIOR + _FARTHEST * _PRIOR_SD),
                options={"maxiter": _STEPS},
            )
            self.theta, self.loss = found.x, float(found.fun)
        self._factor = cho_factor(self._covariance(self.theta), lower=True)
        self._weights = cho_solve(self._factor, values)

    def doubting(self, noise: Vector, odd: Vector) -> "Process":
        """The same with so much more variance of what was seen, and of what is each one's own."""
        doubtful = Process(
            self._inputs, self._values, self._noise + noise, self.theta, keep=True, odd=odd
        )
        doubtful.loss = self.loss
        return doubtful

    def left_out(self) -> tuple[Vector, Vector]:
        """Each value's distance from what all others tell of it, and the deviation expected."""
        precision = np.diag(cho_solve(self._factor, np.eye(len(self._values))))
        return self._weights / precision, np.sqrt(1 / precision)

    def predict(self, inputs: Inputs, seen: NDArray[np.intp]) -> tuple[Vector, Vector]:
        """Mean and variance at ``inputs``; ``seen`` are the rows there of what it was fitted to."""
        parts = _Parts.between(inputs, self._inputs)
        own = float(np.exp(self.theta[3]))
        covariance = parts.covariance(self.theta)
        covariance[seen, np.arange(len(seen))] += own + self._odd
        linear, smooth, elsewhere, _, _ = np.exp(self.theta)
        prior = (
            linear * (inputs.points**2).sum(1)
            + smooth
            + elsewhere * (inputs.elsewhere**2).sum(1) / max(inputs.elsewhere.shape[1], 1)
            + _LEVEL
            + own
        )
        prior[seen] += self._odd
        told = np.einsum("ij,ji->i", covariance, cho_solve(self._factor, covariance.T))
        return covariance @ self._weights, np.maximum(prior - told, _TINY)

    def _covariance(self, theta: Vector) -> Matrix:
        own = float(np.exp(theta[3]))
        return self._parts.covariance(theta) + np.diag(self._noise + own + self._odd + _TINY)

    def _loss(self, theta: Vector) -> tuple[float, Vector]:
        """The negative logarithm of the posterior of ``theta``, with its gradient."""
        count = len(self._values)
        factor = cho_factor(self._covariance(theta), lower=True)
        inverse = cho_solve(factor, np.eye(count))
        weights = inverse @ self._values
        linear, smooth, elsewhere, own, reach = np.exp(theta)
        wave = smooth * self._parts.smooth(float(reach))
        slope = inverse - np.outer(weights, weights)
        distance = (theta - _PRIOR) / _PRIOR_SD
        gradient = 0.5 * np.array(
            [
                linear * np.sum(slope * self._parts.linear),
                np.sum(slope * wave),
                elsewhere * np.sum(slope * self._parts.elsewhere),
                own * np.trace(slope),
                np.sum(slope * wave * self._parts.squares) / reach**2,
            ]
        )
        fit = 0.5 * self._values @ weights + np.log(np.diag(factor[0])).sum()
        return float(fit + 0.5 * distance @ distance), gradient + distance / _PRIOR_SD
