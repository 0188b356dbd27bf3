"""How far a text lies from a scope's own texts, judged from forget text alone (after O3, ICLR 2025).

O3 scores a text by -1/2 of its squared Mahalanobis distance to the forget texts' mean, less lambda
times its cosine distance to the nearest of them, with a covariance of each request's own. A request
here may have one example, so the covariance is the background's, shrunk (Ledoit and Wolf, 2004,
target: scaled identity) and shared by all scopes; a scope keeps its mean only. The distance is taken
relative to that from the background's mean (Ren et al., 2021, "A simple fix to Mahalanobis distance"):
what is merely an unusual text is as far from both, and cancels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class OutlierModel:
    """What all scopes share: the background's mean [d], inverse shrunk covariance [d, d], and lambda.

    ``scale`` divides the sum, so that scores of background texts have unit spread.
    """

    mean: NDArray[np.float32]
    precision: NDArray[np.float32]
    cosine_weight: float
    scale: float

    def centre(self, forget: NDArray[np.float32]) -> ScopeCentre:
        """The mean of a scope's texts [m, d], prepared for scoring.

        Few examples say little about where the scope's mean lies, so it is drawn towards the
        background's with the weight of one example.
        """
        offset = (forget - self.mean).sum(axis=0) / (len(forget) + 1)
        projected = (self.precision @ offset).astype(np.float32)
        return ScopeCentre(projected, float(self.mean @ projected + 0.5 * (offset @ projected)))

    def scores(
        self, centre: ScopeCentre, vectors: NDArray[np.float32], similarity: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """[n]: higher is more like the scope. ``similarity`` is the cosine to the nearest forget text."""
        relative = vectors @ centre.projected - centre.offset
        scores = (relative - self.cosine_weight * (1.0 - similarity)) / self.scale
        return scores.astype(np.float32)

    def score(self, centre: ScopeCentre, vector: NDArray[np.float32], similarity: float) -> float:
        """`scores` of a single vector [d]."""
        relative = float(vector @ centre.projected) - centre.offset
        return (relative - self.cosine_weight * (1.0 - similarity)) / self.scale


@dataclass(frozen=True, slots=True)
class ScopeCentre:
    """A scope's mean, multiplied by the precision [d], and what to take off a text's product with that."""

    projected: NDArray[np.float32]
    offset: float
