"""What a text names: capitalised runs, dates, numbers and quoted spans, and the plain words between them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence


class Form(Enum):
    """How a unit is written."""

    NAME = auto()
    """A run of capitalised words, with the particles and initials within it."""
    TITLE = auto()
    """In quotation marks, most of its words capitalised."""
    QUOTATION = auto()
    """In quotation marks, otherwise."""
    DATE = auto()
    NUMBER = auto()
    ADDRESS = auto()
    """Of the network: an e-mail address, a URL."""
    PLAIN = auto()


@dataclass(frozen=True, slots=True)
class Unit:
    """Characters ``start``..``end`` of a text."""

    start: int
    end: int
    form: Form
    begins: bool
    """Whether a sentence begins here."""


_WORD: Final = re.compile(r"[^\W_]+(?:['’](?![sS]\b)[^\W_]+)*")
# Single marks hold apostrophes, so they are told from these by the letters beside them.
_QUOTED: Final = (
    re.compile(r'["“”„«»]([^"“”„«»\n]{3,400})["“”»«]'),
    re.compile(r"(?<!\w)['‘](\w[^\n\"“”]{2,200}?)['’](?!\w)"),
)
_ADDRESS: Final = re.compile(r"\b(?:https?://|www\.)[^\s<>\"”]{1,300}|(?<![\w.+-])[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+")
_MONTH: Final = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)\.?"
)
_DAY: Final = r"\d{1,2}(?:st|nd|rd|th)?"
_DATE: Final = re.compile(
    rf"\b(?:{_DAY}\.? (?:of )?{_MONTH},?(?: (?:in )?(?:the year )?(?:of )?\d{{4}})?"
    rf"|{_MONTH} (?:the )?{_DAY},? (?:(?:in )?(?:the year )?(?:of )?\d{{4}})?"
    r"|\d{1,4}([-/.])\d{1,2}\1\d{2,4})\b"
)
# What may stand between the groups of a telephone number or an account, and in front of it.
_NUMBER: Final = re.compile(r"\+?\d[\d ()/.-]{0,38}\d|\d")
_PARTICLES: Final = frozenset(
    {"of", "the", "de", "la", "le", "du", "di", "da", "dos", "del", "van", "von", "der", "den", "bin", "ibn", "al"}
)
# Not in the name of a person.
_UNNAMED: Final = frozenset({"of", "the", "The"})
_NAME_WORDS: Final = 5
_RUN_WORDS: Final = 15
_PART_LETTERS: Final = 5
_ABBREVIATIONS: Final = frozenset({"dr", "mr", "mrs", "ms", "st", "prof", "jr", "sr", "mt", "no"})
_SENTENCE_END: Final = re.compile(r"[.!?:;\n]")
_MARKS: Final = " \t\"'“”„«»‘’([*_#>-"


def units(text: str, plain: Container[str]) -> list[Unit]:
    """The units of a text in order, none within another.

    ``plain`` are words known to be written small: such a word at the beginning of a sentence is no name.
    """
    taken: list[Unit] = []
    taken += _free(((match.span(), Form.ADDRESS) for match in _ADDRESS.finditer(text)), taken, text)
    for pattern in _QUOTED:
        taken += _free(_quoted(text, pattern), taken, text)
    taken += _free(((match.span(), Form.DATE) for match in _DATE.finditer(text)), taken, text)
    taken += _free(_names(text, plain), taken, text)
    taken += _free(((match.span(), Form.NUMBER) for match in _NUMBER.finditer(text)), taken, text)
    taken += _free(((match.span(), Form.PLAIN) for match in _WORD.finditer(text)), taken, text)
    return sorted(taken, key=lambda unit: unit.start)


def small_words(texts: Iterable[str]) -> set[str]:
    """Words that are written without a capital somewhere."""
    return {word for text in texts for word in _WORD.findall(_ADDRESS.sub(" ", text)) if word.islower()}


def name_parts(name: str) -> list[str]:
    """Words of a person's name, as far as that can be told from its form, that may stand alone for it: a surname."""
    words = _WORD.findall(name)
    if not 2 <= len(words) <= _NAME_WORDS or not _UNNAMED.isdisjoint(words):
        return []
    return [word for word in words if len(word) >= _PART_LETTERS and word[0].isupper()]


def _quoted(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[tuple[int, int], Form]]:
    for match in pattern.finditer(text):
        inside = match[1].rstrip(" ,.;:!?")
        words = [word for word in _WORD.findall(inside) if word[0].isalpha()]
        if words:
            capitals = sum(word[0].isupper() or word in _PARTICLES for word in words)
            form = Form.TITLE if 3 * capitals >= 2 * len(words) else Form.QUOTATION
            yield (match.start(1), match.start(1) + len(inside)), form


def _free(found: Iterable[tuple[tuple[int, int], Form]], taken: list[Unit], text: str) -> list[Unit]:
    """Units of the spans that touch none of those already taken."""
    occupied = bytearray(len(text))
    for unit in taken:
        occupied[unit.start : unit.end] = b"\1" * (unit.end - unit.start)
    fresh = []
    for (start, end), form in found:
        if not any(occupied[start:end]):
            fresh.append(Unit(start, end, form, _begins(text, start)))
    return fresh


def _names(text: str, plain: Container[str]) -> Iterator[tuple[tuple[int, int], Form]]:
    run: list[re.Match[str]] = []
    pending: list[re.Match[str]] = []
    for match in _WORD.finditer(text):
        word = match[0]
        last = (pending or run)[-1] if run else None
        joins = last is not None and _joins(text[last.end() : match.start()], last[0])
        begins = not joins and _begins(text, match.start())
        if (word[0].isupper() and not (begins and word.lower() in plain)) or (joins and word.isdecimal()):
            if not joins:
                yield from _run(run)
                run = []
            run += [*pending, match]
            pending = []
        elif joins and word in _PARTICLES:
            # Part of the name only if a capital follows.
            pending.append(match)
        else:
            yield from _run(run)
            run, pending = [], []
    yield from _run(run)


def _run(words: Sequence[re.Match[str]]) -> Iterator[tuple[tuple[int, int], Form]]:
    """The span of a name; a long run of capitals is a heading, or how somebody writes."""
    if 0 < len(words) <= _RUN_WORDS:
        yield (words[0].start(), words[-1].end()), Form.NAME


def _joins(gap: str, before: str) -> bool:
    """Whether ``gap`` keeps a word in the run that ends with ``before``: a blank, a hyphen, an initial's dot."""
    return gap in {" ", "-", " & ", "’", "'"} or (gap in {". ", "."} and _is_abbreviation(before))


def _begins(text: str, start: int) -> bool:
    before = text[max(0, start - 24) : start].rstrip(_MARKS)
    if not before:
        return start <= 24 or not text[:start].strip(_MARKS)
    if not _SENTENCE_END.match(before[-1]):
        return False
    if before[-1] != ".":
        return True
    words = _WORD.findall(before)
    return not words or not _is_abbreviation(words[-1])


def _is_abbreviation(word: str) -> bool:
    return (len(word) == 1 and word.isupper()) or word.lower() in _ABBREVIATIONS
