"""How common words are in ordinary language, by how they begin and what they contain."""

from __future__ import annotations

import functools
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

import numpy as np
import wordfreq

from guards.detect.words import LISTS
from guards.phrases.shingles import words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

# The rarest words in the largest list stand at one in a hundred million; what is in none is no commoner.
_UNLISTED = 1e-8
# Of other alphabets there is no list here, so nothing is known to be rare: a character of a script without
# blanks counts like a syllable, any other word like one that an educated reader knows.
_UNKNOWN_CHARACTER, _UNKNOWN_WORD = 1e-4, 1e-6
_LAST = "\U0010ffff"


class _Language:
    """The words of one list, folded and sorted, with the sums of their frequencies."""

    def __init__(self, language: str, size: str) -> None:
        frequencies: dict[str, float] = {}
        for word, frequency in wordfreq.get_frequency_dict(language, wordlist=size).items():
            letters = word if word.isascii() and word.isalnum() else "".join(words_of(word))
            frequencies[letters] = frequencies.get(letters, 0.0) + frequency
        self._words = sorted(frequencies)
        self._sums = np.concatenate([[0.0], np.cumsum([frequencies[word] for word in self._words])])
        self._text = "\n".join(self._words)
        self._starts = np.concatenate([[0], np.cumsum([len(word) + 1 for word in self._words])])

    def between(self, first: str, last: str) -> float:
        """Of all words from one to another, in the order of the alphabet."""
        span = bisect_left(self._words, first), bisect_right(self._words, last)
        return float(self._sums[span[1]] - self._sums[span[0]])

    def containing(self, letters: str) -> float:
        total, place = 0.0, self._text.find(letters)
        while place >= 0:
            word = int(np.searchsorted(self._starts, place, side="right")) - 1
            total += float(self._sums[word + 1] - self._sums[word])
            place = self._text.find(letters, int(self._starts[word + 1]))
        return total


def prepare() -> None:
    """Read the lists now: a second that the first request would wait for otherwise."""
    _languages()


@functools.cache
def _languages() -> tuple[_Language, ...]:
    return tuple(_Language(language, size) for language, size in LISTS)


@functools.lru_cache(maxsize=65_536)
def frequency(word: str) -> float:
    """Occurrences of a folded word per word of text, in the language that has most; never zero."""
    if word.isdecimal():
        return max(1e-13, float(wordfreq.word_frequency(word, LISTS[0][0], wordlist=LISTS[0][1])))
    found = max(language.between(word, word) for language in _languages())
    if found or word.isascii():
        return max(found, _UNLISTED)
    return _UNKNOWN_CHARACTER if len(word) == 1 else _UNKNOWN_WORD


@functools.lru_cache(maxsize=65_536)
def beginning(letters: str) -> float:
    """Of all words that begin with some letters."""
    return max(language.between(letters, letters + _LAST) for language in _languages())


@functools.lru_cache(maxsize=65_536)
def containing(letters: str) -> float:
    """Of all words of the first, largest list that contain some letters anywhere."""
    return _languages()[0].containing(letters)


def joint(words: Sequence[str]) -> float:
    """Occurrences of words in a row per word of text: an upper bound, as `wordfreq` estimates it.

    One over the sum of one over each word's frequency: nothing is rarer for the company it keeps.
    """
    return 1.0 / sum(1.0 / frequency(word) for word in words) if words else 1.0
