"""One scope's verdict on one text."""

from __future__ import annotations

import bisect
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guards.detect.evidence import FEATURES, WORDED, ScopeEvidence, name_strength
from guards.detect.sieve import log_odds_to_reach
from guards.detect.windows import rows_at
from guards.detect.words import Words
from guards.plan import Band

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from guards.detect.calibration import Calibration
    from guards.detect.evidence import WindowText
    from guards.detect.lexical import Match
    from guards.detect.passages import Passage
    from guards.scope import Scope

_SIMILARITY, _RETAIN, _NAME, _PART, _KNOWN, _, _AGREEMENT, _, _OUTLIER = range(len(FEATURES))
# A text as near to an example as this asks what it asks. A long name alone brings texts that share nothing else as
# near as 0.84 (all-MiniLM-L6-v2).
_PARAPHRASE = 0.85
# `rarity` of names known from the examples that says what a text is about.
_TELLING = 0.3


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a scope makes of a segment, and the window that decided."""

    probability: float
    window: int
    """Index of the window, or -1 if none was looked at."""
    alias: str
    by_name: bool
    """The name alone put it into the high band."""
    by_name_alone: bool
    """A rare name, there or elsewhere in the text, is all: nothing but what names reaches any band."""
    by_example: bool
    """The text is, word for word, one of the scope's items."""
    nearest_forget: int
    forget_similarity: float
    nearest_retain: int
    """Index of the retain item, or -1 if the scope has none."""
    retain_similarity: float
    outlier: float
    soft_weight: float = 0.0
    """To what extent an adapter is to act, 0..1."""
    text: WindowText | None = None
    """The window as it was judged."""
    refers_back: bool = False
    """It is probable because of an earlier turn of the conversation, that the segment refers back to."""


NOTHING = Verdict(0.0, -1, "", False, False, False, 0, 0.0, -1, 0.0, 0.0)


class ScopeScorer:
    """A scope made ready for judging; most of it only when it is first judged."""

    def __init__(self, scope: Scope, calibration: Calibration) -> None:
        self.scope = scope
        self._fusion = calibration.fusion
        self.evidence = ScopeEvidence(scope.aliases, scope.forget, scope.retain, calibration.outliers)
        self._rates = {alias.text: alias.innocent_rate for alias in scope.aliases}
        self._weigh: list[float] = calibration.fusion.weights.tolist()
        self._weigh_words = self._weigh[WORDED]
        self._reach = log_odds_to_reach(scope)

    @functools.cached_property
    def _decreed(self) -> dict[str, bool]:
        """By the words of each item: whether a prompt of exactly these words is in scope."""
        decreed = {Words(text).key: True for text in self.scope.forget.texts}
        return decreed | {Words(text).key: False for text in self.scope.retain.texts}

    def judge(self, passage: Passage, matches: Sequence[Match], rows: Sequence[int]) -> Verdict:
        """Judge a segment by some windows of it.

        Args:
            passage: the segment.
            matches: this scope's names in it.
            rows: the windows to look at; those in which a name stands are looked at besides.
        """
        decreed = self._decreed.get(passage.words.key) if passage.windows else None
        named = self._named_windows(passage, matches)
        looked_at = sorted({*rows, *named}) if decreed is None else list(range(len(passage.windows)))
        if not looked_at:
            return NOTHING
        typed = _typed(passage.words, matches) if named else frozenset()
        # A name says what the whole segment is about, wherever in it the name stands.
        rarest = min(matches, key=self._rate, default=None)
        texts = [passage.texts[row].without(typed) if row in named else passage.texts[row] for row in looked_at]
        features, nearest, nearest_retain = self.evidence.features(
            passage.vectors[looked_at],
            texts,
            np.full(len(looked_at), self.name_strength(matches), dtype=np.float32),
        )
        probabilities = self._fusion.probabilities(features)
        retained = features[:, _RETAIN]
        rare = np.array([row in named and self._rate(named[row]) <= self.scope.high.alpha for row in looked_at])
        # Where a retain item is nearer, the name may be a namesake's: then it is evidence among other.
        by_name = rare & (retained >= 0.0)
        for place in np.flatnonzero(by_name):
            probabilities[place] = max(probabilities[place], self._name_probability(named[looked_at[place]]))
        best = int(probabilities.argmax())
        similarity, retain = float(features[best, _SIMILARITY]), int(nearest_retain[best])
        return Verdict(
            probability=float(probabilities[best]) if decreed is None else float(decreed),
            window=looked_at[best],
            alias=rarest.alias if rarest else "",
            by_name=bool(by_name[best]),
            by_name_alone=decreed is None
            and bool(named)
            and bool(rare[best] or looked_at[best] not in named)
            and not self._besides(features, looked_at, named),
            by_example=decreed is not None,
            nearest_forget=int(nearest[best]),
            forget_similarity=similarity,
            nearest_retain=retain,
            retain_similarity=self.evidence.retain_similarity(passage.vectors[looked_at[best]], retain),
            outlier=float(features[best, _OUTLIER]),
            soft_weight=self.evidence.soft_weight.of(float(features[best, _OUTLIER])),
            text=texts[best],
        )

    def may_reach(self, similarity: float, vector: NDArray[np.float32], text: WindowText, strength: float) -> bool:
        """Whether a window [d] can reach the low band: a bound that is cheap to compute, and never too low.

        ``similarity`` is the cosine to the nearest forget item, ``strength`` that of the rarest name in the segment.
        """
        weigh = self._weigh
        bound: float = self._fusion.intercept + weigh[_SIMILARITY] * similarity + weigh[_NAME] * strength
        bound += weigh[_OUTLIER] * self.evidence.outlier(vector, similarity)
        worded = self.evidence.wording(text)
        bound += float(np.dot(self._weigh_words, worded))
        return bound - (weigh[_PART] * worded[0] if strength else 0.0) >= self._reach

    def name_strength(self, matches: Sequence[Match]) -> float:
        """`name_strength` of the rarest of this scope's names that were found, 0 if none was."""
        return max((name_strength(self._rate(match)) for match in matches), default=0.0)

    def band(self, probability: float) -> Band:
        """The band a probability falls into."""
        if probability >= self.scope.high.probability:
            return Band.HIGH
        return Band.LOW if probability >= self.scope.low.probability else Band.CLEAR

    def _rate(self, match: Match) -> float:
        """The share of ordinary prompts that hold a name, or what is typed for it."""
        return min(1.0, self._rates[match.alias] + (match.misspelt or 0.0))

    def _besides(self, features: NDArray[np.float32], rows: Sequence[int], named: Mapping[int, Match]) -> bool:
        """Whether other evidence than a name speaks for a text.

        A window says what an example says, or gives its names or dates; or one in which no name stands reaches a
        band, and not because one stands elsewhere.
        """
        others = features[[row not in named for row in rows]]
        others[:, _NAME] = 0.0
        return bool(
            np.any(features[:, _SIMILARITY] >= _PARAPHRASE)
            or np.any(features[:, _KNOWN] >= _TELLING)
            or np.any(features[:, _AGREEMENT] > 0.0)
            or np.any(self._fusion.probabilities(others) >= self.scope.low.probability)
        )

    def _name_probability(self, match: Match) -> float:
        """From the high threshold, for a name as common as the band allows, to 1 for one never met innocently."""
        threshold = self.scope.high.probability
        return max(threshold, 1.0 - (1.0 - threshold) * self._rate(match) / self.scope.high.alpha)

    def _named_windows(self, passage: Passage, matches: Sequence[Match]) -> dict[int, Match]:
        """The windows in which a name stands, each with its rarest."""
        named: dict[int, Match] = {}
        commonest_first = sorted(matches, key=self._rate, reverse=True)
        places = rows_at(passage.windows, ((match.start, match.end) for match in commonest_first))
        for match, rows in zip(commonest_first, places, strict=True):
            named |= dict.fromkeys(rows, match)
        return named


def _typed(words: Words, matches: Sequence[Match]) -> frozenset[str]:
    """The words that names are written with, spelt right or not."""
    starts = [start for start, _ in words.spans]
    return frozenset(
        word
        for match in matches
        for word in words.texts[bisect.bisect_left(starts, match.start) : bisect.bisect_left(starts, match.end)]
    )
