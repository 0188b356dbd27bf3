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

INNOCENT: Final = 1e-6
"""Largest estimated share of ordinary answers that hold a derived fact: a thousandth of the default false-positive
rate, so that a thousand of them together stay within it. Nobody may ever have looked at them."""

_LETTERS: Final = 12
_WORDS: Final = 12
# A word as rare as `levitate` is a thing of its own.
_RARE: Final = 2e-7
# What tells how things belong together: longer than `in`, and not as common as `and`.
_TELLS, _JOINS = 3, 1e-2
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
    for place, last in enumerate(things):
        # A thing by itself, then with ever more of those before it.
        for first in reversed(things[max(0, place - _WORDS) : place + 1]):
            span = parts[first : last + 1]
            inside = [word for of_part in words[first : last + 1] for word in of_part]
            far = len(inside) > _WORDS or any(part.begins for part in span[1:])
            if first < free or (first < last and far):
                break
            said = text[span[0].start : span[-1].end]
            if _says_something(span, words[first : last + 1]) and _is_innocent(said, inside, background):
                yield said
                free = last + 1
                break


def _is_thing(part: Unit, words: Sequence[str]) -> bool:
    return part.form is not Form.PLAIN or min(map(frequency, words), default=1.0) <= _RARE


def _says_something(span: Sequence[Unit], words: Sequence[Sequence[str]]) -> bool:
    if len(span) == 1:
        return span[0].form in {Form.QUOTATION, Form.NUMBER, Form.ADDRESS} and len(words[0]) < _MOST_QUOTED
    return any(part.form in {Form.DATE, Form.NUMBER, Form.ADDRESS} for part in span) or any(
        len(word) >= _TELLS and frequency(word) <= _JOINS
        for part, of_part in zip(span, words, strict=True)
        if part.form is Form.PLAIN
        for word in of_part
    )


def _is_innocent(text: str, words: Sequence[str], background: Passages) -> bool:
    return sum(map(len, words)) >= _LETTERS and innocent_rate(text, background) <= INNOCENT
