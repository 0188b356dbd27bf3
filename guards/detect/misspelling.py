"""Words near in spelling, out of many, without comparing with each: deletion neighbourhoods (SymSpell, Garbe 2012).

Two words within d edits have a common form that each reaches by deleting at most d letters. So every word is stored
under all its forms, and looked for under all forms of what is typed; a candidate's distance is then computed. Only
the first letters are used for that, five bits each, so that a form is a number, and all forms a sorted array. Beside
it the length of the whole word is kept, so that one that only begins alike is passed by.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

import numpy as np
from rapidfuzz.distance import OSA

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

SHORTEST: Final = 3
"""Letters of the shortest word that may be another's misspelling."""
_ONE_EDIT: Final = 5
_TWO_EDITS: Final = 9
_PREFIX: Final = 8
_BITS: Final = 5
_LETTER: Final = (1 << _BITS) - 1
# An entry is a form, its word's length, and the word's number, which is never the last that there is room for.
_OWNER_BITS: Final = 21
_OWNER: Final = (1 << _OWNER_BITS) - 1
_LENGTHS: Final = 7
_FORM_SHIFT: Final = _OWNER_BITS + _LENGTHS.bit_length()


def tolerance(word: str) -> int:
    """How many edits a word of a name may be away: deletions, insertions, other letters, neighbours exchanged."""
    return (len(word) >= _ONE_EDIT) + (len(word) >= _TWO_EDITS)


def misspells(typed: str, word: str) -> bool:
    """Whether what is typed is within a word's tolerance."""
    allowed = tolerance(word)
    return abs(len(typed) - len(word)) <= allowed and OSA.distance(typed, word, score_cutoff=allowed) <= allowed


class Neighbourhood:
    """Some words, to be found from their misspellings. Immutable."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words: list[str] = [word for word in words if tolerance(word)]
        if len(self._words) > _OWNER:
            raise ValueError(f"more than {_OWNER} words")
        packed = np.array([_pack(word) for word in self._words], dtype=np.int64)
        edits = np.array([tolerance(word) for word in self._words], dtype=np.int64)
        lengths = np.array([_length(len(word)) for word in self._words], dtype=np.int64)
        owners = np.arange(len(packed), dtype=np.int64)
        rest = lengths << _OWNER_BITS | owners
        stored = [packed << _FORM_SHIFT | rest]
        for deleted in (1, 2):
            left = edits[owners] >= deleted
            packed, owners = _one_deleted(packed[left], owners[left])
            stored.append(packed << _FORM_SHIFT | rest[owners])
        self._stored: NDArray[np.uint64] = np.unique(np.concatenate(stored).view(np.uint64))
        self._entries = self._stored.data
        """The same, which gives a few numbers in a third of the time."""

    def near(self, typed: Typed) -> dict[str, list[str]]:
        """For each typed word the words that it may be a misspelling of; those without any are left out."""
        firsts, lasts = self._stored.searchsorted(typed.ranges)
        found: dict[str, list[int]] = {}
        for place in (lasts > firsts).nonzero()[0].tolist():
            entries = self._entries[firsts.item(place) : lasts.item(place)].tolist()
            found.setdefault(typed.words[place], []).extend(entries)
        near = {
            word: [
                each
                for owner in sorted({entry & _OWNER for entry in entries})
                if misspells(word, each := self._words[owner])
            ]
            for word, entries in found.items()
        }
        return {word: candidates for word, candidates in near.items() if candidates}


class Typed:
    """Words as they are typed, made ready for looking them up in any number of neighbourhoods."""

    def __init__(self, typed: Iterable[str]) -> None:
        ranges = {word: _ranges(word) for word in typed}
        self.words = [each for word, of_word in ranges.items() for each in [word] * of_word.shape[1]]
        self.ranges: NDArray[np.uint64] = np.concatenate(list(ranges.values()), axis=1)
        """Where entries of each word's forms begin and end in `Neighbourhood`: [2, forms]."""


def _length(letters: int) -> int:
    """A word's length as entries have it: 0 of those one edit away, then ascending, very long ones alike."""
    return min(max(letters - _TWO_EDITS + 1, 0), _LENGTHS)


def _pack(word: str) -> int:
    """The first letters as a number, five bits each, none of them zero. Rare alphabets share numbers."""
    packed = 0
    for place, letter in enumerate(word[:_PREFIX]):
        packed |= (ord(letter) % _LETTER + 1) << (_BITS * place)
    return packed


@functools.lru_cache(maxsize=65_536)
def _ranges(typed: str) -> NDArray[np.uint64]:
    """Where the entries of words that a typed one may be near to begin and end: [2, forms], ascending.

    Its first letters with up to as many deleted as a word near it allows. A word that is longer allows more, but then
    has more of its own letters deleted; one letter more makes up for those that are cut off.
    """
    letters = len(typed)
    # From four letters, one less than the shortest word has, to nine, one more than those have that are one edit away.
    once = _ONE_EDIT - 1 <= letters <= _TWO_EDITS
    end = _length(letters + 2) + 1
    ranges: list[tuple[int, int]] = []
    forms = {_pack(typed)}
    for deleted in range(1 + (letters >= _ONE_EDIT) + (letters >= _PREFIX)):
        begin = 0 if once and deleted < 2 else max(1, _length(letters - 2))
        if begin < end:
            first, last = begin << _OWNER_BITS, (end << _OWNER_BITS) - 1
            ranges += [(form << _FORM_SHIFT | first, form << _FORM_SHIFT | last) for form in forms]
        forms = {
            form & ((1 << place) - 1) | form >> (place + _BITS) << place
            for form in forms
            for place in range(0, form.bit_length(), _BITS)
        }
    return np.ascontiguousarray(np.array(sorted(ranges), dtype=np.uint64).reshape(-1, 2).T)


def _one_deleted(packed: NDArray[np.int64], owners: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every form [m] of packed words [n] with one letter deleted, and whose it is."""
    forms: list[NDArray[np.int64]] = []
    of: list[NDArray[np.int64]] = []
    for place in range(0, _BITS * _PREFIX, _BITS):
        has = packed >> place > 0
        kept = packed[has]
        forms.append(kept & ((1 << place) - 1) | kept >> (place + _BITS) << place)
        of.append(owners[has])
    return np.concatenate(forms), np.concatenate(of)
