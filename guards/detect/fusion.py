"""One probability from all evidence: a logistic regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STEPS = 50


@dataclass(frozen=True, slots=True)
class Fusion:
    """Weights [k] and intercept over `evidence.FEATURES`."""

    weights: NDArray[np.float32]
    intercept: float

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """[n] log-odds for features [n, k]."""
        logits: NDArray[np.float32] = features @ self.weights + np.float32(self.intercept)
        return logits

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """[n] probabilities of "in scope" for features [n, k]; double precision keeps high ones apart."""
        return 1.0 / (1.0 + np.exp(-self.logits(features).astype(np.float64)))


def fit_fusion(
    features: NDArray[np.float32], inside: NDArray[np.bool_], weights: NDArray[np.float64], signs: NDArray[np.int8]
) -> Fusion:
    """Weighted logistic regression with a ridge, by Newton's method.

    Args:
        features: [n, k].
        inside: [n], the label.
        weights: [n], what each example counts.
        signs: [k], +1 where a feature may only raise the probability, -1 where only lower it. A feature
            that comes out against its sign carries no evidence of its own and is left out.
    """
    spread = np.maximum(features.std(axis=0), 1e-6).astype(np.float64)
    used = np.ones(features.shape[1], dtype=bool)
    while True:
        solution = _newton(features[:, used].astype(np.float64) / spread[used], inside.astype(np.float64), weights)
        wrong = solution[:-1] * signs[used] < 0
        if not wrong.any():
            break
        used[np.flatnonzero(used)[wrong]] = False
    fitted = np.zeros(features.shape[1])
    fitted[used] = solution[:-1] / spread[used]
    return Fusion(fitted.astype(np.float32), float(solution[-1]))


def _newton(x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.hstack([x, np.ones((len(x), 1))])
    # One pseudo-example's worth of pull towards zero, none on the intercept.
    ridge = np.full(x.shape[1], weights.sum() / len(weights))
    ridge[-1] = 1e-9
    solution = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ solution, -30, 30)))
        gradient = x.T @ (weights * (p - y)) + ridge * solution
        hessian = (x * (weights * p * (1 - p))[:, None]).T @ x + np.diag(ridge)
        step = np.linalg.solve(hessian, gradient)
        solution -= step
        if np.abs(step).max() < 1e-8:
            break
    return solution
