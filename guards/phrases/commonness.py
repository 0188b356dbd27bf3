"""What is known of a phrase before it is ever watched: how soon it is given away, and how often it is innocent."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from guards.phrases.folding import fold
from guards.phrases.phrase import Phrase, PhraseClass
from guards.phrases.pieces import LONG, most_edits
from guards.phrases.shingles import words_of
from guards.phrases.vocabulary import beginning, containing, frequency, joint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guards.phrases.passages import Passages

WORDS_PER_ANSWER: Final = 200
"""The average answer of LMSYS-Chat-1M has 214.5 tokens (Zheng et al., 2023, table 1); many are longer now."""

ACCEPTABLE: Final = {PhraseClass.FACT: 1e-4, PhraseClass.NAME: 1e-2}
"""Share of ordinary answers from which on a phrase harms others. A fact is withheld from everybody, and all facts
together are to stay under one answer in a thousand; a name is looked for only where its subject is asked for."""

# Something else begins with these letters in at most one of a hundred thousand answers: a hundredth of the default
# false-positive rate, so that a hundred phrases together stay within it.
_TELLING: Final = 1e-5
# A rare word by itself is known from its stem. How rare: what else begins so stays within that rate.
_STEM, _STEM_RATE = 0.6, 1e-3
_FEWEST: Final = 3
_QUOTED: Final = 0.5
# Each further word makes a phrase ten times rarer, a common one three times, and all common ones together no more
# than ten: cautious, as the average word of English text surprises a language model 20- to 60-fold.
_RARE, _SURPRISE, _LITTLE_SURPRISE = 3e-5, 0.1, 0.3


def assessed(text: str, kind: PhraseClass, background: Passages, *, quoted: bool = False) -> Phrase:
    """A phrase with what is known of it.

    A name is known from where nothing else begins so; a verbatim quotation from its half. Any other fact
    is a statement and is not told before its last word: "Jane Doe was born in" may be said of a namesake.
    """
    words = words_of(text)
    letters = sum(map(len, words))
    known = math.ceil(_QUOTED * letters) if quoted else telling(text)
    if kind is PhraseClass.FACT and not quoted and words:
        known = max(known, letters - len(words[-1]) + min(telling(words[-1]), len(words[-1])))
    return Phrase(text, kind, known, innocent_rate(text, background))


def told(phrase: Phrase) -> str:
    """As much of a phrase's text as already gives it away."""
    letters = 0
    for place, character in enumerate(phrase.text, 1):
        letters += len(fold(character).replace(" ", ""))
        if letters >= phrase.telling:
            return phrase.text[:place]
    return phrase.text


def telling(text: str) -> int:
    """How many letters of a phrase, from its first, ordinary language hardly ever begins with otherwise.

    Words that begin with the last, incomplete word are taken to follow those before it as often as
    anything else. A phrase with numbers is not known before the last digit: as many others begin so.
    """
    words = words_of(text)
    letters = "".join(words)
    if len(letters) < LONG:
        return len(letters)
    if not letters.isascii():
        return _stem(letters) if len(words) == 1 else len(letters)
    count = 0
    digits = max((place for place, letter in enumerate(letters, 1) if letter.isdecimal()), default=0)
    for index, word in enumerate(words):
        own = frequency(word) if index == len(words) - 1 else 0.0
        before = joint(words[:index])
        for length in range(1, len(word) + 1):
            count += 1
            if count < max(_FEWEST, digits):
                continue
            others = before * max(0.0, beginning(word[:length]) - own) * WORDS_PER_ANSWER
            if others <= _TELLING:
                return min(count, _stem(letters)) if len(words) == 1 else count
            if len(words) == 1 and count >= _stem(letters) and others <= _STEM_RATE:
                return count
    return len(letters)


def innocent_rate(text: str, background: Passages) -> float:
    """Estimated share of ordinary answers that contain a phrase without meaning what is withheld.

    The larger of an estimate from the frequencies of its words and the share of the background that
    contains it. Numbers that look alike are taken for one another, so a phrase with digits counts
    for all that are within the watch's lenience.
    """
    words = words_of(text)
    letters = "".join(words)
    if not letters:
        return 0.0
    plain = [word for word in words if not _numeric(word)]
    rate = min(1.0, _occurrences(plain) * WORDS_PER_ANSWER) if plain else 1.0
    if digits := sum(character.isdecimal() for character in letters):
        edits = most_edits(len(letters)) if len(letters) >= LONG else 0
        # Any of the digits may be another, missing or one too many: 30 ways for each edit, in any order. The first
        # digit is left out because numbers with a place in a text are not spread evenly.
        magnitude = edits * math.log10(30 * digits) - math.lgamma(edits + 1) / math.log(10) - (digits - 1)
        rate *= 10.0 ** min(0.0, magnitude)
    return max(rate, background.count(words) / len(background) if len(background) else 0.0)


def _occurrences(words: Sequence[str]) -> float:
    rarest = min(map(frequency, words))
    if len(words) == 1 and len(words[0]) >= LONG:
        return max(rarest, containing(words[0]))
    rare = max(1, sum(frequency(word) <= _RARE for word in words))
    return rarest * float(_SURPRISE ** (rare - 1)) * max(_SURPRISE, float(_LITTLE_SURPRISE ** (len(words) - rare)))


def _stem(letters: str) -> int:
    return math.ceil(_STEM * len(letters))


def _numeric(word: str) -> bool:
    return any(character.isdecimal() for character in word)
