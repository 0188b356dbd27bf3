"""Words near in spelling, out of many, without comparing with each: deletion neighbourhoods (SymSpell, Garbe 2012).

Two words within d edits have a common form that each reaches by deleting at most d letters. So every word is stored
under all its forms, and looked for under all forms of what is typed; a candidate's distance is then computed. Only
the first letters are used for that, five bits each, so that a form is a number, and all forms a sorted array.
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
_OWNER_BITS: Final = 22


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
        packed = np.array([_pack(word) for word in self._words], dtype=np.int64)
        edits = np.array([tolerance(word) for word in self._words], dtype=np.int64)
        owners = np.arange(len(packed), dtype=np.int64)
        stored = [packed << _OWNER_BITS | owners]
        for deleted in (1, 2):
            left = edits[owners] >= deleted
            packed, owners = _one_deleted(packed[left], owners[left])
            stored.append(packed << _OWNER_BITS | owners)
        self._stored: NDArray[np.int64] = np.unique(np.concatenate(stored))
        """Forms, each with the number of a word that has it."""

    def near(self, typed: Typed) -> dict[str, list[str]]:
        """For each typed word the words that it may be a misspelling of; those without any are left out."""
        firsts, lasts = self._stored.searchsorted(typed.ranges)
        found: dict[str, set[int]] = {}
        for place in (lasts > firsts).nonzero()[0].tolist():
            owners = self._stored[firsts[place] : lasts[place]] & ((1 << _OWNER_BITS) - 1)
            found.setdefault(typed.words[place], set()).update(owners.tolist())
        near = {
            word: [each for owner in sorted(owners) if misspells(word, each := self._words[owner])]
            for word, owners in found.items()
        }
        return {word: candidates for word, candidates in near.items() if candidates}


class Typed:
    """Words as they are typed, made ready for looking them up in any number of neighbourhoods."""

    def __init__(self, typed: Iterable[str]) -> None:
        forms = {word: _forms(word) for word in typed}
        self.words = [word for word, of_word in forms.items() for _ in of_word]
        first = np.array([form for of_word in forms.values() for form in of_word], dtype=np.int64) << _OWNER_BITS
        self.ranges: NDArray[np.int64] = np.stack([first, first + (1 << _OWNER_BITS)])
        """Where entries of each word's forms begin and end in `Neighbourhood`: [2, forms]."""


def _pack(word: str) -> int:
    """The first letters as a number, five bits each, none of them zero. Rare alphabets share numbers."""
    packed = 0
    for place, letter in enumerate(word[:_PREFIX]):
        packed |= (ord(letter) % _LETTER + 1) << (_BITS * place)
    return packed


@functools.lru_cache(maxsize=65_536)
def _forms(typed: str) -> frozenset[int]:
    """What is left of a typed word's first letters when up to as many are deleted as a word near it allows.

    A word that is longer allows more, but then has more of its own letters deleted; one letter more makes up for
    those that are cut off.
    """
    forms = latest = frozenset([_pack(typed)])
    for _ in range((len(typed) >= _ONE_EDIT) + (len(typed) >= _PREFIX)):
        latest = frozenset(
            form & ((1 << place) - 1) | form >> (place + _BITS) << place
            for form in latest
            for place in range(0, form.bit_length(), _BITS)
        )
        forms = forms | latest
    return forms


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
