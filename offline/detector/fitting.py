"""Fitting what all scopes share, from labelled and from background texts, with scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from guards.detect.fusion import Fusion
from guards.detect.ood import OutlierModel

if TYPE_CHECKING:
    from numpy.typing import NDArray


def fit_fusion(
    features: NDArray[np.float32], inside: NDArray[np.bool_], weights: NDArray[np.float64], signs: NDArray[np.int8]
) -> Fusion:
    """Weighted logistic regression with a ridge of one pseudo-example.

    Args:
        features: [n, k].
        inside: [n], the label.
        weights: [n], what each example counts.
        signs: [k], +1 where a feature may only raise the probability, -1 where only lower it. A feature
            that comes out against its sign carries no evidence of its own and is left out.
    """
    from sklearn.linear_model import LogisticRegression  # two seconds, as below, which only who fits waits

    spread = np.maximum(features.std(axis=0), 1e-6).astype(np.float64)
    scaled = features.astype(np.float64) / spread
    used = np.ones(features.shape[1], dtype=bool)
    while True:
        model = LogisticRegression(C=len(weights) / weights.sum(), max_iter=1_000, tol=1e-8)
        model.fit(scaled[:, used], inside, sample_weight=weights)
        wrong = model.coef_[0] * signs[used] < 0
        if not wrong.any():
            break
        used[np.flatnonzero(used)[wrong]] = False
    fitted = np.zeros(features.shape[1])
    fitted[used] = model.coef_[0] / spread[used]
    return Fusion(fitted.astype(np.float32), float(model.intercept_[0]))


def fit_outlier_model(background: NDArray[np.float32]) -> OutlierModel:
    """Fit to background vectors [n, d].

    lambda and the scale are such that, between pairs of background texts, both terms have unit spread.
    """
    from sklearn.covariance import ledoit_wolf

    mean = background.mean(axis=0)
    precision = np.linalg.inv(ledoit_wolf(background.astype(np.float64))[0]).astype(np.float32)
    half = len(background) // 2
    one, other = background[:half], background[half:]
    relative = (one - mean) @ precision @ ((other - mean) / 2.0).T
    scale = float(relative.std())
    cosine_weight = scale / max(float((one @ other.T).std()), 1e-6)
    return OutlierModel(mean.astype(np.float32), precision, cosine_weight, scale)
