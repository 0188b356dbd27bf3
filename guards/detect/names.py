"""How telling a name is: how many ordinary prompts contain it that do not mean its bearer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guards.detect.lexical import alias_keys
from guards.detect.words import WORDS_PER_PROMPT, Words, phrase_frequency
from guards.scope import Alias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def assess_aliases(names: Iterable[str], background: Sequence[Words]) -> tuple[Alias, ...]:
    """Each distinct name with the share of ordinary prompts that contain it.

    The larger of two estimates: wordfreq's frequency of the phrase in general text times the words of
    an average prompt, and the share of background prompts that have it in small letters. An occurrence
    with a capital may well mean the bearer, so the background's are not counted as innocent. A name
    without a single letter or digit can never be found and is left out.
    """
    distinct: dict[tuple[str, ...], str] = {}
    for name in names:
        if keys := alias_keys(name):
            distinct.setdefault(keys, name.strip())
    return tuple(Alias(name, _innocent_rate(name, keys, background)) for keys, name in distinct.items())


def _innocent_rate(name: str, keys: Sequence[str], background: Sequence[Words]) -> float:
    in_general = min(1.0, phrase_frequency(name) * WORDS_PER_PROMPT)
    plain = sum(_in_small_letters(words, key) for words in background for key in keys[:1])
    return max(in_general, plain / len(background) if background else 0.0)


def _in_small_letters(words: Words, key: str) -> bool:
    place = words.key.find(key)
    if place < 0:
        return False
    first = words.key.count(" ", 0, place + 1) - 1
    last = first + key.count(" ") - 2
    written = words.original[words.spans[first][0] : words.spans[last][1]]
    return written == written.lower()


def names_in(words: Words, keys: Iterable[str]) -> bool:
    """Whether one of the phrases is in a text."""
    return any(key in words.key for key in keys)
