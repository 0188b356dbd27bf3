"""What a score is worth at every threshold: operating points, ROC and DET curves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATES = (0.001, 0.005, 0.01, 0.05)


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of what should be found and of what should not, float64 [n] each. Higher is more surely in scope."""

    positives: NDArray[np.float64]
    negatives: NDArray[np.float64]

    def threshold(self, rate: float) -> float:
        """The lowest threshold that at most a share ``rate`` of the negatives lies above; found is what lies above it.

        Without negatives, negative infinity.
        """
        allowed = math.floor(rate * len(self.negatives) + 1e-9)
        if allowed >= len(self.negatives):
            return -math.inf
        return float(np.sort(self.negatives)[len(self.negatives) - allowed - 1])

    def roc(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """False-positive and true-positive rates, rising."""
        from sklearn.metrics import roc_curve  # seconds, which only who draws one waits

        false, true, _ = roc_curve(self._labels, self._all)
        return false, true

    def det(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """False-positive and false-negative rates (Martin et al., 1997), the first falling."""
        from sklearn.metrics import det_curve  # as above

        false, missed, _ = det_curve(self._labels, self._all)
        return false, missed

    def auc(self) -> float:
        """Area under the ROC curve: how often a positive outscores a negative."""
        from sklearn.metrics import roc_auc_score  # as above

        return float(roc_auc_score(self._labels, self._all))

    @property
    def _labels(self) -> NDArray[np.bool_]:
        return np.concatenate([np.ones(len(self.positives), bool), np.zeros(len(self.negatives), bool)])

    @property
    def _all(self) -> NDArray[np.float64]:
        return np.concatenate([self.positives, self.negatives])
