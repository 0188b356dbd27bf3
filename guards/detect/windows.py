"""Cutting a text into windows that an encoder can read, so that none of it goes unread."""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# A window's largest size. Encoder time is about linear in tokens, so size costs nothing; it decides
# how much a question is diluted by its neighbours and how much of what it refers to stands beside it.
WINDOW_TOKENS = 48
# What a window repeats of the one before it, where a sentence had to be broken.
OVERLAP_TOKENS = 12

_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])|\s*\n\s*")


@dataclass(frozen=True, slots=True)
class Window:
    """Characters ``start``..``end`` of a text."""

    start: int
    end: int


def sentences(text: str) -> list[Window]:
    """Sentences and lines in order. Together they hold every character but blanks between them."""
    found = []
    start = 0
    for gap in _SENTENCE_END.finditer(text):
        end = gap.start() + len(gap.group().rstrip())
        if text[start:end].strip():
            found.append(Window(start, end))
        start = gap.end()
    if text[start:].strip():
        found.append(Window(start, len(text)))
    return found


def cut(text: str, tokens: Sequence[tuple[int, int]], size: int = WINDOW_TOKENS) -> list[Window]:
    """Windows of at most ``size`` tokens that together cover every token of ``text``.

    ``tokens`` are the character ranges of the text's tokens. A text that fits is one window. A longer
    one is cut into runs of whole sentences; a sentence too long for a window into overlapping pieces.
    Within a run, each question becomes a window of its own besides, since its neighbours dilute it.
    """
    if not text.strip():
        return []
    if len(tokens) <= size:
        return [Window(0, len(text))]
    starts = [start for start, _ in tokens]
    windows: list[Window] = []
    run: list[Window] = []
    run_tokens = 0
    for piece, count in _pieces(text, tokens, starts, size):
        if run and run_tokens + count > size:
            windows += _run_windows(text, run)
            run, run_tokens = [], 0
        run.append(piece)
        run_tokens += count
    return windows + _run_windows(text, run)


def _run_windows(text: str, run: Sequence[Window]) -> list[Window]:
    whole = Window(run[0].start, run[-1].end)
    if len(run) == 1:
        return [whole]
    return [whole, *(piece for piece in run if text[piece.start : piece.end].rstrip("\"'”’)] ").endswith(("?", "？")))]


def _pieces(
    text: str, tokens: Sequence[tuple[int, int]], starts: Sequence[int], size: int
) -> Iterator[tuple[Window, int]]:
    """Sentences with their token counts; one longer than ``size`` comes in overlapping pieces."""
    for sentence in sentences(text):
        first = bisect.bisect_left(starts, sentence.start)
        last = bisect.bisect_left(starts, sentence.end)
        if last - first <= size:
            yield sentence, last - first
            continue
        for begin in range(first, last - OVERLAP_TOKENS, size - OVERLAP_TOKENS):
            end = min(begin + size, last)
            yield Window(tokens[begin][0], tokens[end - 1][1]), end - begin
