"""What a text ends with that long phrases begin with."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from guards.phrases.strings import Strings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from guards.phrases.form import Form

_LAST: Final = "\U0010ffff"  # No letter: sorts after all of them.
_FEWEST_INSIDE: Final = 5
_MOST_INSIDE: Final = 12
_FEW: Final = 16


def head(phrase: str) -> str:
    """What must have been read of a phrase that does not begin with a word before more of it is held back.

    Half of it; of a short one more, because ordinary words contain that, and of a long one no more than is rare enough.
    """
    return phrase[: min(max(-(-len(phrase) // 2), _FEWEST_INSIDE), _MOST_INSIDE)]


class Beginnings:
    """The beginnings of phrases, which are numbered in the order in which they sort. Immutable."""

    def __init__(self, phrases: Sequence[str], telling: Sequence[int]) -> None:
        """``telling``: for each phrase, the letters that give it away where a word ends with them."""
        self.phrases = phrases
        self._telling = np.array(telling, dtype=np.int32)
        self.least_telling = min(telling, default=0)
        numbers: dict[str, list[int]] = {}
        for number, phrase in enumerate(phrases):
            numbers.setdefault(head(phrase), []).append(number)
        self.heads = Strings({start: (len(start), those) for start, those in numbers.items()})

    def first(self, beginning: str, low: int = 0) -> int:
        """The number, from ``low`` on, of the first phrase with this beginning; -1 where there is none."""
        number = bisect_left(self.phrases, beginning, low)
        return number if number < len(self.phrases) and self.phrases[number].startswith(beginning) else -1

    def given_away(self, beginning: str, first: int) -> list[int]:
        """Numbers of the phrases that ``beginning`` gives away; ``first`` is the first that has it."""
        last = bisect_right(self.phrases, beginning + _LAST, first)
        told: list[int] = (np.flatnonzero(self._telling[first:last] <= len(beginning)) + first).tolist()
        return told

    def spelt(self, letters: str) -> Iterator[tuple[int, int]]:
        """Each phrase that stands in ``letters``, spelt right: where it begins, and its number."""
        for end, (length, numbers) in self.heads.ending(letters, 0, len(letters)):
            start = end - length
            for number in numbers:
                if letters.startswith(self.phrases[number], start):
                    yield start, number


@dataclass(slots=True)
class _Open:
    start: int
    first: int
    """The first phrase that begins so, when last looked up."""
    at_word: bool


class Openings:
    """Where in one stream a phrase may have begun that the text may go on with."""

    __slots__ = ("_beginnings", "_form", "_matters", "_open", "_read")

    def __init__(self, beginnings: Beginnings, form: Form, matters: Callable[[int], bool]) -> None:
        """``matters``: whether a phrase is held back at all."""
        self._beginnings = beginnings
        self._form = form
        self._matters = matters
        self._open: list[_Open] = []
        self._read = 0

    def read(self, word: int, end: int) -> None:
        """Read up to letter ``end`` of the word that begins with letter ``word``."""
        if end == self._read:
            return
        if word >= self._read:
            self._open.append(_Open(word, 0, at_word=True))
        base = self._form.base
        for last, (length, _) in self._beginnings.heads.ending(self._form.letters, self._read - base, end - base):
            start = last + base - length
            if all(each.start != start for each in self._open):
                self._open.append(_Open(start, 0, at_word=False))
        self._read = end
        self._follow()

    def _follow(self) -> None:
        """Let go of what no phrase goes on like."""
        still: list[_Open] = []
        for each in self._open:
            beginning = self._form.between(each.start, self._read)
            each.first = self._beginnings.first(beginning, each.first)
            if each.first >= 0 and self._matter(each.first, beginning):
                still.append(each)
        self._open = still

    def given_away(self) -> Iterator[tuple[int, int]]:
        """What is given away if a word ends here: where it begins, and the phrase's number."""
        for each in self._open:
            if each.at_word and self._read - each.start >= self._beginnings.least_telling:
                beginning = self._form.between(each.start, self._read)
                for number in self._beginnings.given_away(beginning, each.first):
                    yield each.start, number

    def held(self) -> int | None:
        """The letter from which on the text must be held back, at the beginning of a word where that is still known.

        What is let go then ends with a word that has been looked at, instead of with half a word that is a phrase.
        """
        if not self._open:
            return None
        start = min(each.start for each in self._open)
        starts = self._form.starts
        word = bisect_right(starts, start) - 1
        return starts[word] if word >= 0 else start

    def _matter(self, first: int, beginning: str) -> bool:
        for number in range(first, first + _FEW):
            if number == len(self._beginnings.phrases) or not self._beginnings.phrases[number].startswith(beginning):
                return False
            if self._matters(number):
                return True
        return True
