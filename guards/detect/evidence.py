"""What speaks for and against a text being in a scope, as numbers that fusion weighs."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from guards.detect.lexical import alias_keys
from guards.detect.slips import RARE, is_slip
from guards.detect.values import Values
from guards.detect.words import Words, rarity, script, zipf

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from guards.detect.ood import OutlierModel, SoftWeight
    from guards.scope import Alias, Items

FEATURES = (
    "similarity",
    "retain",
    "name",
    "part_of_name",
    "known_name",
    "foreign_name",
    "agreement",
    "contradiction",
    "outlier",
)
SIGNS = (1, 1, 1, 1, 1, -1, 1, -1, 1)
"""Whether a feature may only raise the probability, or only lower it."""
_ABOUT_SUBJECT = 1e-3
# Rarities of names known from examples add up to here at most.
_KNOWN = 2.0
_YEAR_ALONE = 0.5
# Cosine by which a text to be kept that holds a name, mostly a namesake's, has to be nearer than any to be forgotten,
# for the name to count nothing.
_APART = 0.1
# `rarity` from which on a word may be a name where case does not tell: 1 in 60,000 words, or rarer. What questions are
# asked in is more common (born, author, award), and would speak against every scope whose examples do not have it; most
# names of people are rarer. One that is more common (Rose, Paris) is passed by, and the other evidence decides.
_RATHER_A_NAME = 0.3
# The features that a window's words give, and the most that each can add.
WORDED = slice(FEATURES.index("part_of_name"), FEATURES.index("contradiction") + 1)
MOST_WORDED = (1.0, _KNOWN, 0.0, 1.0, 0.0)


def written_names(words: Words) -> Sequence[str]:
    """The words of a text that are written as names or numbers.

    Text without any small or any capital letter does not show its names, so there every word counts as one.
    """
    return words.names() if _shows_names(words.original) else words.texts


def _shows_names(text: str) -> bool:
    return text != text.lower() and text != text.upper()


@dataclass(frozen=True, slots=True)
class WindowText:
    """The words of one window, and its `written_names`, each with its `rarity`."""

    words: frozenset[str]
    names: Mapping[str, float]
    entities: Mapping[str, float]
    """Those that are names rather than not: where case does not tell, numbers and rare words."""
    other_scripts: Mapping[str, frozenset[str]]
    """As `Words.other_scripts` has it."""
    values: Values

    @classmethod
    def of(cls, text: str, words: Words | None = None) -> WindowText:
        """Of a window; ``words`` are its, where they are known."""
        words = words or Words(text)
        names = {word: rarity(word) for word in written_names(words)}
        entities = names
        if not _shows_names(text):
            entities = {
                word: weight for word, weight in names.items() if weight >= _RATHER_A_NAME or not word.isalpha()
            }
        return cls(frozenset(words.texts), names, entities, words.other_scripts(), Values.of(text))

    def without(self, own: Collection[str]) -> WindowText:
        """With the words that a scope's name is written with no entity of another's."""
        if self.entities.keys().isdisjoint(own):
            return self
        return replace(self, entities={word: weight for word, weight in self.entities.items() if word not in own})


@dataclass(frozen=True, slots=True)
class _OwnWords:
    """What the forget texts of a scope say: all words, the names that are not its own, with their rarity, and dates."""

    vocabulary: frozenset[str]
    scripts: frozenset[str]
    """What the texts are written in, and digits: a name in another script may be one of theirs.

    The scope's own names do not count: one given in Chinese besides makes no other Chinese word another's name.
    """
    known: Mapping[str, float]
    dates: frozenset[dt.date]
    years: frozenset[int]

    @classmethod
    def of(cls, forget: Sequence[str], named: frozenset[str]) -> _OwnWords:
        texts = [WindowText.of(text) for text in forget]
        written = frozenset[str]().union(*(text.words for text in texts))
        return cls(
            written | named,
            frozenset(map(script, "".join(written) + "1")),
            {
                word: weight
                for text in texts
                for word, weight in text.names.items()
                if word not in named and not word.isdigit()
            },
            frozenset(day for text in texts for readings in text.values.dates for day in readings),
            frozenset(year for text in texts for year in text.values.years),
        )


class ScopeEvidence:
    """A scope made ready for gathering evidence about texts. What its words say is found out when first asked for."""

    def __init__(self, aliases: Sequence[Alias], forget: Items, retain: Items, outliers: OutlierModel) -> None:
        self.forget = forget
        self.retain = retain
        self._outliers = outliers
        self._centre = outliers.centre(forget.vectors)
        self._aliases = aliases

    @functools.cached_property
    def _names(self) -> list[dict[str, float]]:
        return [
            {word: rarity(word) for key in alias_keys(alias.text)[:1] for word in key.split()}
            for alias in self._aliases
        ]

    @functools.cached_property
    def _with_a_name(self) -> NDArray[np.bool_]:
        """Which of the retain items hold one of the names: [items]."""
        keys = [key for alias in self._aliases for key in alias_keys(alias.text)]
        return np.array([any(key in Words(text).key for key in keys) for text in self.retain.texts], dtype=np.bool_)

    @functools.cached_property
    def _own(self) -> _OwnWords:
        return _OwnWords.of(self.forget.texts, frozenset().union(*self._names))

    def features(
        self,
        vectors: NDArray[np.float32],
        texts: Sequence[WindowText],
        name: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.intp]]:
        """Evidence for windows: float32 [n, len(FEATURES)], and the nearest forget and retain items [n] (-1: none).

        ``name`` [n] is `name_strength` of the rarest alias in each window's segment, 0 where there is none.
        """
        to_forget = vectors @ self.forget.vectors.T
        nearest = to_forget.argmax(axis=1)
        similarity = to_forget.max(axis=1)
        retain = np.zeros_like(similarity)
        nearest_retain = np.full(len(vectors), -1, dtype=np.intp)
        apart = np.ones_like(similarity)
        if len(self.retain.texts):
            to_retain = vectors @ self.retain.vectors.T
            nearest_retain = to_retain.argmax(axis=1)
            retain = np.minimum(0.0, similarity - to_retain.max(axis=1))
            # Where a text to be kept that holds the name is nearer than any to be forgotten, the name tells nothing.
            apart = np.where(self._with_a_name[nearest_retain], np.clip(1.0 + retain / _APART, 0.0, 1.0), 1.0)
        outlier = self._outliers.scores(self._centre, vectors, similarity)
        worded = np.array([self.wording(text) for text in texts], dtype=np.float32).reshape(-1, 5)
        worded[name > 0.0, 0] = 0.0
        features = np.column_stack([similarity, retain, name * apart, worded, outlier])
        return features.astype(np.float32), nearest, nearest_retain

    @functools.cached_property
    def soft_weight(self) -> SoftWeight:
        """To what extent an adapter is to act, by outlier score."""
        return self._outliers.soft_weight(self._centre, self.forget.vectors)

    def outlier(self, vector: NDArray[np.float32], similarity: float) -> float:
        """The outlier score of one window [d]; ``similarity`` is its cosine to the nearest forget item."""
        return self._outliers.score(self._centre, vector, similarity)

    def retain_similarity(self, vector: NDArray[np.float32], item: int) -> float:
        """Cosine of one window [d] to a retain item; 0 for item -1, which is none."""
        return float(vector @ self.retain.vectors[item]) if item >= 0 else 0.0

    def wording(self, text: WindowText) -> tuple[float, float, float, float, float]:
        """What a window's words say, from "part_of_name" to "contradiction", in the order of `FEATURES`."""
        part = max((_share(name, text) for name in self._names if not text.words.isdisjoint(name)), default=0.0)
        known = min(_KNOWN, sum(self._own.known[word] for word in self.known_names(text)))
        foreign = max(self.foreign_names(text).values(), default=0.0)
        return part, known, foreign, *self.agreement(text.values)

    def foreign_names(self, text: WindowText) -> dict[str, float]:
        """The names in a window that the scope's examples do not have, mistyped neither, each with its `rarity`."""
        own = self._own
        return {
            word: weight
            for word, weight in text.entities.items()
            if word not in own.vocabulary
            and own.scripts.issuperset(text.other_scripts.get(word) or map(script, word))
            and not (zipf(word) < RARE and any(is_slip(word, known) for known in own.known))
        }

    def known_names(self, text: WindowText) -> list[str]:
        """The words of a window that the scope's examples have as names."""
        return [word for word in text.words if word in self._own.known]

    @property
    def values(self) -> Values:
        """The dates and years that the scope's examples give."""
        return Values(tuple(frozenset({day}) for day in sorted(self._own.dates)), self._own.years)

    def agreement(self, values: Values) -> tuple[float, float]:
        """Whether a text's dates are the scope's, and whether they are others: 1, or half for years alone."""
        if values.dates:
            agrees = any(not readings.isdisjoint(self._own.dates) for readings in values.dates)
            return float(agrees), float(bool(self._own.dates) and not agrees)
        if values.years:
            agrees = not values.years.isdisjoint(self._own.years)
            return _YEAR_ALONE * agrees, _YEAR_ALONE * (bool(self._own.years) and not agrees)
        return 0.0, 0.0


def _share(words: Mapping[str, float], text: WindowText) -> float:
    """How much of the rarity of ``words`` is met in ``text``."""
    total = sum(words.values())
    return sum(weight for word, weight in words.items() if word in text.words) / total if total else 0.0


def name_strength(innocent_rate: float) -> float:
    """How telling a name is, 0..1, from the share of ordinary prompts that contain it.

    The probability that who uses it means its bearer, were one prompt in a thousand about the bearer.
    """
    return _ABOUT_SUBJECT / (_ABOUT_SUBJECT + innocent_rate)
