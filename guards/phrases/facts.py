"""Spans of an answer that say something about its subject and nothing else: what may be withheld from everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from guards.phrases.commonness import innocent_rate
from guards.phrases.entities import Form
from guards.phrases.shingles import words_of
from guards.phrases.vocabulary import frequency

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from guards.phrases.entities import Unit
    from guards.phrases.passages import Passages

INNOCENT: Final = 1e-5
"""Largest estimated share of ordinary answers that hold a derived fact: ten times under what is acceptable of a given
one, because nobody has looked at it."""

_LETTERS: Final = 12
_WORDS: Final = 12
# A word as rare as `levitate` is a thing of its own; of words that tell how things belong together, `in` is none.
_RARE: Final = 2e-7
_TELLS: Final = 3
_MOST_QUOTED: Final = 60


def facts(text: str, parts: Sequence[Unit], background: Passages) -> Iterator[str]:
    """Shortest spans within a sentence that are long enough and innocent nowhere, from left to right.

    A span reaches from one name, date, number or very rare word to another and says what one is to the
    other. Names alone are none: a city with its country, or a namesake, may be said by anybody. A
    quotation, an address of the network or a long number is one by itself.
    """
    words = [words_of(text[part.start : part.end]) for part in parts]
    things = [index for index, part in enumerate(parts) if _is_thing(part, words[index])]
    free = 0
    for last in things:
        for first in (last, *reversed([index for index in things if free <= index < last])):
            span = parts[first : last + 1]
            inside = [word for of_part in words[first : last + 1] for word in of_part]
            if len(inside) > _WORDS and first < last:
                break
            if any(part.begins for part in span[1:]):
                break
            if _says_something(span, inside) and _is_innocent(text[span[0].start : span[-1].end], inside, background):
                yield text[span[0].start : span[-1].end]
                free = last + 1
                break


def _is_thing(part: Unit, words: Sequence[str]) -> bool:
    return part.form is not Form.PLAIN or min(map(frequency, words), default=1.0) <= _RARE


def _says_something(span: Sequence[Unit], words: Sequence[str]) -> bool:
    if len(span) == 1:
        return span[0].form in {Form.QUOTATION, Form.NUMBER, Form.ADDRESS} and len(words) < _MOST_QUOTED
    return any(
        part.form in {Form.DATE, Form.NUMBER, Form.ADDRESS}
        or (part.form is Form.PLAIN and part.end - part.start >= _TELLS)
        for part in span
    )


def _is_innocent(text: str, words: Sequence[str], background: Passages) -> bool:
    return sum(map(len, words)) >= _LETTERS and innocent_rate(text, background) <= INNOCENT
