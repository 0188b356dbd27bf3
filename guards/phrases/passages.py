"""Texts in which phrases are looked up as they are matched in an answer."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from guards.phrases.pieces import LONG
from guards.phrases.shingles import words_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Passages:
    """Folded once, searched often."""

    def __init__(self, texts: Iterable[str]) -> None:
        folded = [words_of(text) for text in texts]
        self._count = len(folded)
        self._letters = "\n".join("".join(words) for words in folded)
        self._forms = "\n".join(f" {' '.join(words)} " for words in folded)

    def __len__(self) -> int:
        return self._count

    def count(self, words: Sequence[str]) -> int:
        """How many of the texts contain a phrase, given by its folded words."""
        letters = "".join(words)
        text, sought = (self._letters, letters) if len(letters) >= LONG else (self._forms, f" {' '.join(words)} ")
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
