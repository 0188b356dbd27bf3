"""Readings of a text that hides what it says, each with a way back to the text as the client wrote it."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from guards.detect.encodings import CIPHERS, WRAPPINGS, Stretch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# A decoding may hide something in turn: so often is looked again.
_NESTED: Final = 2
# Of stretches read by themselves, besides each form's all together: of one form, in all, and their characters.
_ALONE: Final = 3
_ALONE_IN_ALL: Final = 16
_ALONE_CHARACTERS: Final = 2_000
# What stands before and after a stretch may be part of the question: characters on either side.
_AROUND: Final = 160
# A text of no more characters is read as a whole: cut off, it would not say what is to be done with a name.
_WHOLE: Final = 1_000
# A stretch of at least so many words may be a question by itself.
_QUESTION_WORDS: Final = 3
_LETTER: Final = re.compile(r"[^\W_]")
_FORMS: Final = WRAPPINGS | CIPHERS


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

    ``known`` tells whether a folded word is part of a name that is looked for. Of each form there is a reading of all
    that is written in it, whatever else the text holds, and of what these hide in turn: at most 84, none longer than
    the text. What may be a question by itself is read so as well: at most 16, of 2,000 characters more than the text's.
    """
    found: dict[str, Decoding] = {}
    alone: list[list[Decoding]] = []
    frontier = [Decoding(text, (), (), ())]
    for _ in range(_NESTED):
        deeper: list[Decoding] = []
        for reading, (form, reader) in itertools.product(frontier, _FORMS.items()):
            variants: dict[tuple[int, int], list[Stretch]] = {}
            for stretch in reader(reading.text, known):
                variants.setdefault((stretch.start, stretch.end), []).append(stretch)
            if not variants:
                continue
            alone.append(_alone(reading, form, variants))
            for decoding in _together(reading, form, list(variants.values())):
                if decoding.text not in ("", text) and found.setdefault(decoding.text, decoding) is decoding:
                    deeper += [decoding] * (form in WRAPPINGS)
        frontier = deeper
    return list((_chosen(alone, len(text) + _ALONE_CHARACTERS) | found).values())


def _chosen(alone: Sequence[Sequence[Decoding]], characters: int) -> dict[str, Decoding]:
    """Of readings by form, by their texts: as many as may be, each form's first before any one's second."""
    chosen: dict[str, Decoding] = {}
    firsts_first = filter(None, itertools.chain.from_iterable(itertools.zip_longest(*alone)))
    for decoding in itertools.islice(firsts_first, _ALONE_IN_ALL):
        if decoding.text not in chosen and len(decoding.text) <= characters:
            chosen[decoding.text] = decoding
            characters -= len(decoding.text)
    return chosen


def _alone(reading: Decoding, form: str, variants: Mapping[tuple[int, int], Sequence[Stretch]]) -> list[Decoding]:
    """The stretches of a form that may be questions, without what stands around them."""
    start, end = next(iter(variants))[0], list(variants)[-1][1]
    if len(variants) == 1 and not _LETTER.search(reading.text[:start] + reading.text[end:]):
        return []
    questions = [stretch for ways in variants.values() for stretch in ways if _asks(stretch.plain)]
    return [_with(reading, form, [stretch], stretch.start, stretch.end) for stretch in questions[:_ALONE]]


def _together(reading: Decoding, form: str, variants: Sequence[Sequence[Stretch]]) -> list[Decoding]:
    """All stretches of a form in one text, in each way that they can be read."""
    start, end = variants[0][0].start, variants[-1][0].end
    around = max(0, start - _AROUND), min(len(reading.text), end + _AROUND)
    if len(reading.text) <= _WHOLE:
        around = 0, len(reading.text)
    return [
        _with(reading, form, [ways[min(way, len(ways) - 1)] for ways in variants], *around)
        for way in range(max(map(len, variants)))
    ]


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
