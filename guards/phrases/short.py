"""Phrases too short to be told from parts of other words: found as whole words, or spelt out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guards.phrases.pieces import LONG

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from guards.phrases.form import Word


def spellings(words: Sequence[str]) -> tuple[str, str]:
    """The two ways in which a short phrase is found: as it is, and with a blank after each letter."""
    return " ".join(words), " ".join("".join(words))


class ShortPhrases:
    """Numbered phrases of fewer than ``LONG`` letters, each given as its words. Immutable."""

    def __init__(self, phrases: Iterable[Sequence[str]]) -> None:
        self._numbers: dict[str, list[int]] = {}
        for number, words in enumerate(phrases):
            for spelling in dict.fromkeys(spellings(words)):
                self._numbers.setdefault(spelling, []).append(number)
        self._begun = {f"{spelling} "[:end] for spelling in self._numbers for end in range(1, len(spelling) + 1)}

    def ended(self, words: Sequence[Word]) -> Iterator[tuple[Word, int]]:
        """The phrases that stand at the end of ``words``: their first word, and their number."""
        for word, text in _ends(words):
            for number in self._numbers.get(text, ()):
                yield word, number

    def begun(self, words: Sequence[Word], *, in_word: bool) -> Word | None:
        """The first of ``words`` from which on they are the beginning of a phrase; ``in_word``: the last may go on."""
        found = None
        for word, text in _ends(words):
            if (text if in_word else f"{text} ") in self._begun:
                found = word
        return found


def _ends(words: Sequence[Word]) -> Iterator[tuple[Word, str]]:
    """The last word, the last two, and so on, while they have few enough letters."""
    text = ""
    letters = 0
    for word in reversed(words):
        letters += len(word.letters)
        if letters >= LONG:
            return
        text = f"{word.letters} {text}" if text else word.letters
        yield word, text
