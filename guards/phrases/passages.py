"""Texts in which phrases are looked up as they are matched in an answer."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from guards.phrases.pieces import LONG
from guards.phrases.shingles import words_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_REMEMBERED: Final = 16_384


class Passages:
    """Folded once, searched often."""

    def __init__(self, texts: Iterable[str]) -> None:
        folded = [words_of(text) for text in texts]
        self._count = len(folded)
        self._letters = "\n".join("".join(words) for words in folded)
        self._forms = "\n".join(f" {' '.join(words)} " for words in folded)
        # A phrase is looked up when it is considered and again when it is taken.
        self._counted = functools.lru_cache(maxsize=_REMEMBERED)(self._lines_with)

    def __len__(self) -> int:
        return self._count

    def count(self, words: Sequence[str]) -> int:
        """How many of the texts contain a phrase, given by its folded words."""
        letters = "".join(words)
        return self._counted(letters) if len(letters) >= LONG else self._counted(f" {' '.join(words)} ")

    def _lines_with(self, sought: str) -> int:
        text = self._forms if sought.startswith(" ") else self._letters
        found, place = 0, text.find(sought)
        while place >= 0:
            found += 1
            end = text.find("\n", place)
            place = text.find(sought, end) if end >= 0 else -1
        return found


@functools.lru_cache(maxsize=1)
def background_passages(texts: tuple[str, ...]) -> Passages:
    """Those of the calibration's background: the same for every request."""
    return Passages(texts)
