"""Which of the scopes near a text can reach a band at all: told from few bytes of each, before it is made ready."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guards.detect.evidence import FEATURES, MOST_WORDED, SIGNS, WORDED, written_names
from guards.detect.words import Words

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from guards.detect.calibration import Calibration
    from guards.detect.evidence import WindowText
    from guards.scope import Scope

_SIMILARITY, _OUTLIER = FEATURES.index("similarity"), FEATURES.index("outlier")
# Bounds in log-odds are computed apart from the score, in another order of float32 operations.
_ROUNDING = 1e-3


def log_odds_to_reach(scope: Scope) -> float:
    """The log-odds from which on a text is in the scope's low band, less what rounding may take."""
    low = min(max(scope.low.probability, 1e-12), 1.0 - 1e-12)
    return math.log(low / (1.0 - low)) - _ROUNDING


@dataclass(frozen=True, slots=True)
class _Sieved:
    telling: array[int]
    """Hashes of the words that could speak for it: those of its names, and the names in its examples."""
    reach: float


@dataclass(frozen=True, slots=True)
class Glance:
    """A window, as far as no scope matters: the hashes of its words, and the most log-odds that it can get."""

    words: frozenset[int]
    most: float
    """With cosine 0, and without a word that speaks for a scope."""


class Sieve:
    """Bounds from above what scopes make of a window in which none of their names stands.

    Raises:
        ValueError: a weight has another sign than its feature, so that nothing is bounded.
    """

    def __init__(self, calibration: Calibration) -> None:
        self._outliers = calibration.outliers
        self._intercept = calibration.fusion.intercept
        weights: list[float] = calibration.fusion.weights.tolist()
        for feature, sign, weight in zip(FEATURES, SIGNS, weights, strict=True):
            if weight * sign < 0.0:
                raise ValueError(f"the calibration's weight of {feature!r} has the wrong sign")
        self._outlier = weights[_OUTLIER]
        self._similarity = weights[_SIMILARITY] + self._outlier * self._outliers.most_by_cosine
        part, known, _, self._agreement, _ = (
            weight * most for weight, most in zip(weights[WORDED], MOST_WORDED, strict=True)
        )
        self._telling = part + known
        self._scopes: dict[str, _Sieved] = {}

    def add(self, scope: Scope, forget: Sequence[Words]) -> None:
        """Know ``scope`` from now on; ``forget`` are the words of its forget items."""
        telling = {word for words in forget for word in written_names(words) if not word.isdigit()}
        telling.update(word for alias in scope.aliases for word in Words(alias.text).texts)
        self._scopes[scope.request_id] = _Sieved(array("q", map(hash, telling)), log_odds_to_reach(scope))

    def remove(self, request_id: str) -> None:
        """Know the scope of ``request_id`` no more."""
        del self._scopes[request_id]

    def glance(self, vector: NDArray[np.float32], text: WindowText) -> Glance:
        """What `may_reach` needs of a window: its vector [d], and its words."""
        dated = bool(text.values.dates or text.values.years)
        most = self._intercept + self._outlier * self._outliers.most(vector) + self._agreement * dated
        return Glance(frozenset(map(hash, text.words)), most)

    def may_reach(self, request_id: str, glance: Glance, similarity: float) -> bool:
        """Whether a window may reach the low band of a scope; ``similarity`` is the cosine to its nearest item."""
        scope = self._scopes[request_id]
        bound = glance.most + self._similarity * similarity
        if bound + self._telling < scope.reach:
            return False
        return bound >= scope.reach or not glance.words.isdisjoint(scope.telling)
