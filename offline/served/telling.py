"""Whether an answer gives away what a question asks for."""

from __future__ import annotations

from typing import Final

import wordfreq

from guards.detect.words import Words

_COMMON: Final = 4.5
"""On the Zipf scale (log10 of occurrences in a billion words): words more frequent than this are said by anybody."""


def telling_words(answer: str, asked: str) -> frozenset[str]:
    """The words of a true answer that tell it: uncommon ones, and those with digits, that the question does not say."""
    said = set(Words(asked).texts)
    return frozenset(
        word
        for word in Words(answer).texts
        if word not in said
        and (any(map(str.isdigit, word)) or (len(word) > 2 and wordfreq.zipf_frequency(word, "en") < _COMMON))
    )


def tells(said: str, words: frozenset[str]) -> bool:
    """Whether at least half of the telling words are said, with one there is that one; never where there are none."""
    found = words & set(Words(said).texts)
    return bool(words) and 2 * len(found) >= len(words)
