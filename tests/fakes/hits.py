"""What a hit is, word for word and without haste: the measure for the matcher."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rapidfuzz.distance.Levenshtein import distance

from guards.phrases.folding import fold

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guards.phrases.phrase import Phrase

LONG = 6


def form(text: str) -> str:
    """The folded characters, runs of blanks collapsed."""
    return re.sub(" +", " ", "".join(fold(character) for character in text))


def letters(text: str) -> str:
    """The form without blanks."""
    return form(text).replace(" ", "")


def contains(text: str, phrase: Phrase, *, finished: bool) -> bool:
    """Rule 1: the phrase itself."""
    told = letters(phrase.text)
    if len(told) >= LONG:
        return told in letters(text)
    ended = f" {form(text)}{' ' if finished else ''}"
    return bool(told) and any(
        f" {spelling} " in re.sub(" +", " ", ended) for spelling in (form(phrase.text).strip(), " ".join(told))
    )


def resembles(text: str, phrase: Phrase) -> bool:
    """Rule 2: a stretch of letters at least 0.85 like a long phrase, in fractions of twentieths."""
    told, read = letters(phrase.text), letters(text)
    return len(told) >= LONG and any(
        20 * distance(read[start:end], told) <= 3 * max(end - start, len(told))
        for start in range(len(read))
        for end in range(start + len(told) * 4 // 5, min(start + len(told) * 5 // 4 + 1, len(read)) + 1)
    )


def gives_away(text: str, phrase: Phrase, *, finished: bool) -> bool:
    """Rule 3: the telling beginning of a long phrase, from a word's start to a word's end."""
    told, read = letters(phrase.text), form(text).strip() + (" " if finished or form(text).endswith(" ") else "")
    if len(told) < LONG:
        return False
    telling = max(phrase.telling, -(-len(told) * 6 // 10))
    for start in (match.start() for match in re.finditer(r"\S+", read)):
        for end in (match.start() for match in re.finditer(" ", read)):
            beginning = read[start:end].replace(" ", "")
            if start < end and len(beginning) >= telling and told.startswith(beginning):
                return True
    return False


def is_hit(text: str, phrases: Iterable[Phrase], *, finished: bool) -> bool:
    """Whether the watch must withhold this text."""
    return any(
        contains(text, phrase, finished=finished)
        or resembles(text, phrase)
        or gives_away(text, phrase, finished=finished)
        for phrase in phrases
    )
