"""Readings of a text that hides what it says, each with a way back to the text as the client wrote it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from guards.detect.encodings import CIPHERS, WRAPPINGS, Stretch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# A decoding may hide something in turn: so often is looked again.
_NESTED: Final = 2
# Of one text: readings in all, stretches of one encoding read by themselves, and characters in all, as a multiple of
# the text's own and besides.
_READINGS: Final = 16
_ALONE: Final = 3
_GROWTH: Final = 3
_CHARACTERS: Final = 2_000
# What stands before and after a stretch may be part of the question: characters on either side.
_AROUND: Final = 160
# A stretch of at least so many words may be a question by itself.
_QUESTION_WORDS: Final = 3
_LETTER: Final = re.compile(r"[^\W_]")


@dataclass(frozen=True, slots=True)
class Decoding:
    """What a text, or a part of it, says once decoded. Character ``i`` stands for ``starts[i]``..``ends[i]`` of it."""

    text: str
    forms: tuple[str, ...]
    """How it was written, the outermost first."""
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    def original_span(self, start: int, end: int) -> tuple[int, int]:
        """The original's characters behind ``text[start:end]``. The span must not be empty."""
        return min(self.starts[start:end]), max(self.ends[start:end])


def decodings(text: str, known: Callable[[str], bool] = lambda word: False) -> list[Decoding]:
    """Every way to read ``text`` but the plain one; none for ordinary text.

    ``known`` tells whether a folded word is part of a name that is looked for. The work is bounded: at most
    16 readings, of at most three times the text's characters and 2,000 more.
    """
    found: dict[str, Decoding] = {}
    left = _GROWTH * len(text) + _CHARACTERS
    frontier = [Decoding(text, (), (), ())]
    for _ in range(_NESTED):
        deeper: list[Decoding] = []
        for reading in frontier:
            for decoding in _decoded(reading, known):
                left -= len(decoding.text)
                if left < 0 or len(found) >= _READINGS:
                    return list(found.values())
                if decoding.text != text and decoding.text not in found:
                    found[decoding.text] = decoding
                    if decoding.forms[-1] in WRAPPINGS:
                        deeper.append(decoding)
        frontier = deeper
    return list(found.values())


def _decoded(reading: Decoding, known: Callable[[str], bool]) -> Iterator[Decoding]:
    for form, reader in (WRAPPINGS | CIPHERS).items():
        variants: dict[tuple[int, int], list[Stretch]] = {}
        for stretch in reader(reading.text, known):
            variants.setdefault((stretch.start, stretch.end), []).append(stretch)
        if not variants:
            continue
        start, end = next(iter(variants))[0], list(variants)[-1][1]
        if len(variants) > 1 or _LETTER.search(reading.text[:start] + reading.text[end:]):
            questions = [stretch for ways in variants.values() for stretch in ways if _asks(stretch.plain)]
            for stretch in questions[:_ALONE]:
                yield _with(reading, form, [stretch], stretch.start, stretch.end)
        around = max(0, start - _AROUND), min(len(reading.text), end + _AROUND)
        for way in range(max(map(len, variants.values()))):
            yield _with(reading, form, [ways[min(way, len(ways) - 1)] for ways in variants.values()], *around)


def _asks(plain: str) -> bool:
    return len(plain.split()) >= _QUESTION_WORDS


def _with(reading: Decoding, form: str, stretches: Sequence[Stretch], start: int, end: int) -> Decoding:
    """Characters ``start``..``end`` of a reading, with stretches of it decoded."""
    parts: list[str] = []
    places: list[tuple[int, int]] = []
    position = start
    for stretch in stretches:
        parts += reading.text[position : stretch.start], stretch.plain
        places += [(at, at + 1) for at in range(position, stretch.start)]
        if stretch.places is None:
            places += [(stretch.start, stretch.end)] * len(stretch.plain)
        else:
            places += [(stretch.start + at, stretch.start + at + 1) for at in stretch.places]
        position = stretch.end
    parts.append(reading.text[position:end])
    places += [(at, at + 1) for at in range(position, end)]
    if reading.forms:
        places = [reading.original_span(*place) for place in places]
    return Decoding(
        "".join(parts),
        (*reading.forms, form),
        tuple(first for first, _ in places),
        tuple(last for _, last in places),
    )
