"""A growing text as phrases are matched in it: its letters, where each stands in the text, and its words."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from guards.phrases.folding import fold

_OTHERS: Final = "\0"
_LETTERS: Final = re.compile("[^ ]+")
_KEPT: Final = 65_536


class _Single(dict[int, str]):
    """Characters that fold to one, for ``str.translate``, which loops outside of Python; others are ``_OTHERS``."""

    def __missing__(self, ordinal: int) -> str:
        folded = fold(chr(ordinal))
        single = folded if len(folded) == 1 else _OTHERS
        if len(self) < _KEPT:
            self[ordinal] = single
        return single


_SINGLE: Final = _Single()


class Word(NamedTuple):
    """A word of a text."""

    letters: str
    start: int
    """The number of its first letter."""
    end: int
    """The number of the letter after it."""
    place: int
    """Where its first letter stands in the text."""


class Form:
    """The last letters of a text, numbered from the first one read.

    Places count characters; those of a text that stood before the stream are negative.
    """

    __slots__ = ("_in_word", "base", "characters", "letters", "places", "starts")

    def __init__(self, *, before: int = 0) -> None:
        """The first ``before`` characters to be read stand before the stream."""
        self._in_word = False
        self.characters = -before
        self.base = 0
        """The number of the first letter kept."""
        self.letters = ""
        self.places: list[int] = []
        self.starts: list[int] = []
        """The numbers of the letters that begin a word."""

    @property
    def count(self) -> int:
        """Letters read so far."""
        return self.base + len(self.letters)

    def read(self, text: str) -> tuple[list[Word], Word | None]:
        """Take in ``text``. Returns the words that have ended in it, and what there is of one that may go on."""
        first_start = len(self.starts) - self._in_word
        plain = text.translate(_SINGLE)
        ends = self._read(text) if _OTHERS in plain else self._read_plain(plain)
        self.characters += len(text)
        words = [self._word(first_start + index, end) for index, end in enumerate(ends)] if ends else []
        return words, self._word(len(self.starts) - 1, self.count) if self._in_word else None

    def end(self) -> Word | None:
        """The text has ended. Returns the word that has ended with it."""
        word = self._word(len(self.starts) - 1, self.count) if self._in_word else None
        self._in_word = False
        return word

    def between(self, start: int, end: int) -> str:
        """The letters from number ``start`` up to number ``end``."""
        return self.letters[start - self.base : end - self.base]

    def place(self, letter: int) -> int:
        """Where a letter stands in the text."""
        return self.places[letter - self.base]

    def trim(self, reach: int) -> None:
        """Keep ``reach`` letters, and up to as many again so that this need not be done often.

        A word that goes on and is longer loses its beginning.
        """
        surplus = len(self.letters) - reach
        if surplus <= reach:
            return
        self.base += surplus
        self.letters = self.letters[surplus:]
        del self.places[:surplus]
        kept = [start for start in self.starts if start >= self.base]
        self.starts = kept if kept or not self._in_word else [self.base]

    def _read_plain(self, plain: str) -> list[int]:
        """Take in characters, folded to one letter or blank each. Returns the letters with which words have ended."""
        ends: list[int] = []
        count = self.count
        for stretch in _LETTERS.finditer(plain):
            start, end = stretch.span()
            if start and self._in_word:
                ends.append(count)
                self._in_word = False
            if not self._in_word:
                self.starts.append(count)
                self._in_word = True
            self.places.extend(range(self.characters + start, self.characters + end))
            count += end - start
        if self._in_word and plain.endswith(" "):
            ends.append(count)
            self._in_word = False
        self.letters += plain.replace(" ", "")
        return ends

    def _read(self, text: str) -> list[int]:
        """The same for any characters."""
        ends: list[int] = []
        count = self.count
        fresh: list[str] = []
        for place, character in enumerate(text, self.characters):
            for letter in fold(character):
                if letter != " ":
                    if not self._in_word:
                        self.starts.append(count + len(fresh))
                        self._in_word = True
                    fresh.append(letter)
                    self.places.append(place)
                elif self._in_word:
                    ends.append(count + len(fresh))
                    self._in_word = False
        self.letters += "".join(fresh)
        return ends

    def _word(self, index: int, end: int) -> Word:
        start = self.starts[index]
        first = start - self.base
        return Word(self.letters[first : end - self.base], start, end, self.places[first])


def tail(text: str, letters: int) -> str:
    """The end of ``text`` from between two words on, with so many letters at least; else all of it."""
    for start in range(len(text) - 1, -1, -1):
        folded = fold(text[start])
        letters -= len(folded.strip())
        if letters <= 0 and " " in folded:
            return text[start:]
    return text
