"""How far a text lies from a scope's own texts, judged from forget text alone (after O3, ICLR 2025).

O3 scores a text by -1/2 of its squared Mahalanobis distance to the forget texts' mean, less lambda
times its cosine distance to the nearest of them, with a covariance of each request's own. A request
here may have one example, so the covariance is the background's, shrunk (Ledoit and Wolf, 2004,
target: scaled identity) and shared by all scopes; a scope keeps its mean only. The distance is taken
relative to that from the background's mean (Ren et al., 2021, "A simple fix to Mahalanobis distance"):
what is merely an unusual text is as far from both, and cancels.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A scope's texts that its soft weight is worked out from, at most.
_WEIGHED = 512
# Scores of background texts have unit spread; those of a scope's few texts may happen to have less.
_SPREAD = 1.0


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

    @property
    def most_by_cosine(self) -> float:
        """What a cosine of 1 adds to a score, over one of 0."""
        return self.cosine_weight / self.scale

    def most(self, vector: NDArray[np.float32]) -> float:
        """The highest score that a vector [d] can have in any scope, at cosine 0.

        With P the precision and a, b the vector's and a scope's offsets from the background's mean, the relative
        distance is a P b - 1/2 b P b, which is 1/2 a P a at most.
        """
        offset = vector - self.mean
        return (0.5 * float(offset @ self.precision @ offset) - self.cosine_weight) / self.scale

    def soft_weight(self, centre: ScopeCentre, forget: NDArray[np.float32]) -> SoftWeight:
        """How a scope's own texts [m, d] score: as they stand, and each against the others only, as if held out."""
        forget = forget[:_WEIGHED]
        known = self.scores(centre, forget, np.ones(len(forget), dtype=np.float32))
        if len(forget) == 1:
            return SoftWeight(float(known[0]), float(known[0]), _SPREAD)
        similarity = forget @ forget.T
        np.fill_diagonal(similarity, -1.0)
        held_out = self.scores(centre, forget, similarity.max(axis=1))
        return SoftWeight(float(known.mean()), float(held_out.mean()), max(_SPREAD, float(held_out.std())))


@dataclass(frozen=True, slots=True)
class SoftWeight:
    """To what extent an adapter is to act on a text, from its outlier score (O3, section 3.3).

    The scores of the scope's own texts and of such as are held out are taken for two Gaussians with the
    spread of the latter, mixed in equal parts; ``known`` and ``held_out`` are their means. O3 keeps a fifth
    of the texts out; a request may have two, so here each is left out in turn.
    """

    known: float
    held_out: float
    spread: float

    def of(self, score: float) -> float:
        """sigmoid(10 P - 2) with P = 1 - |F(x) - F(2 x0 - x)|, where F is the mixture and x0 its middle.

        O3's P falls off to both sides. What scores above the middle is more like the scope than its own texts
        are like each other: it is inside, so the middle stands for it.
        """
        middle = (self.known + self.held_out) / 2.0
        x = min(score, middle)
        parts = [statistics.NormalDist(mean, self.spread) for mean in (self.known, self.held_out)]
        below, above = (statistics.fmean(part.cdf(value) for part in parts) for value in (x, 2.0 * middle - x))
        return 1.0 / (1.0 + math.exp(2.0 - 10.0 * (1.0 - (above - below))))


@dataclass(frozen=True, slots=True)
class ScopeCentre:
    """A scope's mean, multiplied by the precision [d], and what to take off a text's product with that."""

    projected: NDArray[np.float32]
    offset: float
