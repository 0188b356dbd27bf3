"""Words of a text: folded, with their places, and how rare each is in ordinary language."""

from __future__ import annotations

import functools
import math
import re
import unicodedata
from itertools import filterfalse
from typing import TYPE_CHECKING

import wordfreq

from guards.detect.normalize import normalize
from guards.phrases.folding import BLANKLESS, is_accent

if TYPE_CHECKING:
    from collections.abc import Iterable

# A run of letters and digits is a word; in scripts written without blanks each character is.
_WORD = re.compile(f"[{BLANKLESS}]|[^\\W_{BLANKLESS}]+")
# What stands inside a word: Yun-Hwa, O'Neill; not before what English shortens or adds: Neill's, didn't.
_JOINT = re.compile(r"[-\u2010\u2011'’](?<=[^\W_].)(?=[^\W_])(?<!['’](?=[sdmt]\b))(?<!['’](?=(?:ll|re|ve)\b))")
# The large list of English reaches 1 in 100 million; the small ones are enough to know another language's common words.
LISTS = (("en", "large"), ("de", "small"), ("es", "small"), ("fr", "small"))
# Zipf scale: log10 of occurrences in a billion words. Function words begin near 6.
_COMMON_ZIPF = 6.0
# The average user prompt of LMSYS-Chat-1M has 69.5 tokens (Zheng et al., 2023, table 1), about 50 words.
WORDS_PER_PROMPT = 50


class Words:
    """The folded words of a text. Places in the original are worked out only when asked for."""

    __slots__ = ("_normalized", "_spans", "key", "original", "texts")

    def __init__(self, text: str) -> None:
        self.original = text
        self._normalized = normalize(text)
        self.texts: list[str] = _WORD.findall(self._normalized.text)
        self.key = phrase_key(self.texts)
        """The words as one string that contains a phrase's key exactly where its words occur in a row."""
        self._spans: list[tuple[int, int]] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def spans(self) -> list[tuple[int, int]]:
        """For each word the original's characters, start and end."""
        if self._spans is None:
            folded = self._normalized
            spans = [match.span() for match in _WORD.finditer(folded.text)]
            self._spans = spans if folded.starts is None else [folded.original_span(*span) for span in spans]
        return self._spans

    def compounds(self) -> list[range]:
        """The places of words that only a hyphen or an apostrophe parts."""
        text = self._normalized.text
        found: list[range] = []
        before = second = 0
        for joint in _JOINT.finditer(text):
            second += len(_WORD.findall(text, before, joint.start()))
            before = joint.start()
            first = found.pop().start if found and found[-1].stop == second else second - 1
            found.append(range(first, second + 1))
        return found

    def other_scripts(self) -> dict[str, frozenset[str]]:
        """By folded word what it is written in, where folding left no letter of that: Russian words of look-alikes."""
        if self.original.isascii():
            return {}
        found: dict[str, frozenset[str]] = {}
        for word, (start, end) in zip(self.texts, self.spans, strict=True):
            written = unicodedata.normalize("NFKC", "".join(filterfalse(is_accent, self.original[start:end])))
            if not written.isascii():
                scripts = frozenset(map(script, filter(str.isalnum, written)))
                if scripts.isdisjoint(map(script, word)):
                    found[word] = scripts
        return found

    def names(self) -> list[str]:
        """The words that are written as names, as `name_like` has it."""
        original = self.original
        return [
            word
            for index, (word, (start, _)) in enumerate(zip(self.texts, self.spans, strict=True))
            if (original[start].isupper() or not word.isalpha()) and self.name_like(index)
        ]

    def name_like(self, index: int) -> bool:
        """Whether a word is written as a name: with a digit, or a capital that does not begin a sentence."""
        word = self.texts[index]
        start, end = self.spans[index]
        # As it is written: folding takes some letters for the digits that they look like.
        if not word.isalpha() and any(map(str.isnumeric, self.original[start:end])):
            return True
        if not self.original[start].isupper():
            return False
        before = self.original[max(0, start - 8) : start].rstrip(" \t\"'«»¿¡([“”‘’")
        return bool(before) and before[-1] not in ".!?:;\n"


def phrase_key(words: Iterable[str]) -> str:
    """Words with a blank before, between and after them."""
    return f" {' '.join(words)} "


@functools.cache
def _frequencies() -> tuple[dict[str, float], ...]:
    return tuple(wordfreq.get_frequency_dict(language, wordlist=size) for language, size in LISTS)


@functools.lru_cache(maxsize=262_144)
def zipf(word: str) -> float:
    """How common a small-letter word is, in the language that has it most: 0 for words that no list knows.

    On the Zipf scale. Unlike `rarity`, a word with digits is known only as it is listed.
    """
    frequency = max(known.get(word, 0.0) for known in _frequencies())
    return _on_zipf_scale(frequency) if frequency else 0.0


@functools.cache
def listed_from(least: float) -> frozenset[str]:
    """The words whose `zipf` is ``least`` or more, above 0: so that many words are asked about at once."""
    return frozenset(
        word
        for known in _frequencies()
        for word, frequency in known.items()
        if frequency and _on_zipf_scale(frequency) >= least
    )


def _on_zipf_scale(frequency: float) -> float:
    return math.log10(frequency) + 9.0


@functools.lru_cache(maxsize=262_144)
def rarity(word: str) -> float:
    """How rare a folded word is: 0 for function words, 1 for words that no list knows.

    From the largest frequency (wordfreq, Zipf scale) in the languages listed above; a word with digits is as common
    as those of its shape.
    """
    if word.isalpha():
        common = zipf(word)
    else:
        common = max(wordfreq.zipf_frequency(word, language, wordlist=size) for language, size in LISTS)
    return min(1.0, max(0.0, 1.0 - common / _COMMON_ZIPF))


@functools.lru_cache(maxsize=4_096)
def script(character: str) -> str:
    """The writing system of a letter, as Unicode names it: LATIN, CYRILLIC, CJK, …; DIGIT of a digit."""
    return unicodedata.name(character, "").partition(" ")[0]


@functools.lru_cache(maxsize=65_536)
def phrase_frequency(phrase: str) -> float:
    """Occurrences of a phrase per word of ordinary text, by wordfreq's estimate from its words.

    For several words that estimate is the harmonic sum of theirs, in practice an upper bound.
    """
    frequency: float = max(wordfreq.word_frequency(phrase, language, wordlist=size) for language, size in LISTS)
    return frequency
