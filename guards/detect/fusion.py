"""One probability from all evidence: a logistic regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
