"""Whether a turn of a conversation refers back to what was said before it, by its words.

A pronoun or a definite description before the turn has named anything of its own, or so little content that it says
nothing alone. English, as the encoder. The weights come from ``reference.json``, which `offline.detector.reference`
fits.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final

from guards.detect.words import Words, zipf

if TYPE_CHECKING:
    from collections.abc import Sequence

FEATURES: Final = (
    "person",
    "thing",
    "demonstrative",
    "definite",
    "opens",
    "content",
    "rarest",
    "names",
    "connective",
    "empty",
    "thanks",
)


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_PERSON: Final = _set("he him his himself she her hers herself they them their theirs themselves")
_THING: Final = _set("it its itself")
_DEMONSTRATIVE: Final = _set("this that these those one ones other others same previous first second last")
_CONNECTIVE: Final = _set("and but so then also or ok okay")
_THANKS: Final = _set("thanks thank great nice cool hello hi bye good")
# What goes with anything: words that say nothing about what a turn is about.
_LIGHT: Final = _set(
    """tell me more know give name please continue go say answer question explain elaborate detail details describe show
    write list summarise summarize repeat again about want sure mean thanks thank great interesting see just only now
    let called happened next happen try guess title author person writer book name named"""
)
_PLAIN: Final = _PERSON | _THING | _DEMONSTRATIVE | _CONNECTIVE | _THANKS | _LIGHT
# On the Zipf scale: function words, and verbs such as "do" and "have".
_FUNCTION_ZIPF: Final = 5.8
_SHORT_WORDS: Final = 8
_COMMON_ZIPF: Final = 5.5
_MOST_NAMES: Final = 3
# A longer turn stands by itself.
_LONGEST: Final = 30
_MOST_CHARACTERS: Final = 600


@dataclass(frozen=True, slots=True)
class ReferenceModel:
    """A logistic regression over `features`: a weight for each, and an intercept.

    ``surely`` and ``perhaps`` are the probabilities that at most 2 and 5 of 1,000 turns that stand by themselves
    reach (Neyman-Pearson, 95 % confidence, on the background).
    """

    weights: tuple[float, ...]
    intercept: float
    surely: float
    perhaps: float

    def refers(self, text: str) -> float:
        """How surely a turn refers back: from 0, below ``perhaps``, to 1, from ``surely`` on."""
        probability = self.probability(text)
        return min(1.0, probability / self.surely) if probability >= self.perhaps else 0.0

    def probability(self, text: str) -> float:
        """How probable it is that a turn refers back."""
        words = Words(text if len(text) <= _MOST_CHARACTERS else "")
        if not words.texts or len(words) > _LONGEST:
            return 0.0
        logit = self.intercept + sum(
            weight * value for weight, value in zip(self.weights, features(words), strict=True)
        )
        return 1.0 / (1.0 + math.exp(-logit))


@functools.cache
def reference_model() -> ReferenceModel:
    """The model that comes with this package."""
    fitted = json.loads((resources.files("guards.detect") / "reference.json").read_text("utf-8"))
    weights = tuple(fitted["weights"][name] for name in FEATURES)
    return ReferenceModel(weights, fitted["intercept"], fitted["surely"], fitted["perhaps"])


def features(words: Words) -> Sequence[float]:
    """The evidence in a turn's words, by `FEATURES`."""
    texts = words.texts
    content = [place for place, word in enumerate(texts) if _content(word)]
    refers = [place for place, word in enumerate(texts) if word in _PERSON or word in _THING]
    after_the = [word for before, word in itertools.pairwise(texts) if before == "the"]
    rarities = [max(0.0, _COMMON_ZIPF - zipf(texts[place])) for place in content]
    return (
        float(any(word in _PERSON for word in texts)),
        float(any(word in _THING for word in texts)),
        float(any(word in _DEMONSTRATIVE for word in texts)),
        float(any(word in _LIGHT for word in after_the) and len(content) <= 1),
        float(bool(refers) and not any(place < refers[0] for place in content)),
        math.log1p(len(content)),
        max(rarities, default=0.0),
        float(min(_MOST_NAMES, sum(words.name_like(place) for place in range(1, len(texts))))),
        float(texts[0] in _CONNECTIVE or texts[:2] == ["what", "about"]),
        float(not content),
        float(any(word in _THANKS for word in texts) and len(texts) <= _SHORT_WORDS and "?" not in words.original),
    )


def _content(word: str) -> bool:
    return word not in _PLAIN and len(word) > 1 and zipf(word) < _FUNCTION_ZIPF
