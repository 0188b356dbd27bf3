"""Names of every scope, found in a prompt in one pass."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ahocorasick
from rapidfuzz.distance import OSA

from guards.detect.misspelling import SHORTEST, Neighbourhood, Typed, tolerance
from guards.detect.words import WORDS_PER_PROMPT, Words, phrase_frequency, phrase_key, zipf

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

# A level of the lexicon takes in the level before it when that is less than this many times larger.
_FANOUT = 4
# Letters from which on words written together (a hashtag) are no ordinary word of their own.
_LONG_ENOUGH_TOGETHER = 8
# On the Zipf scale, less than one in a million words: what is more common is typed on purpose. So is what is more
# than a hundredth as common as the name's word, where people mistype one or two words of a hundred, each in many ways;
# beside the rest of the name it may be one of ten million words all the same.
_RARE = 3.0
_RARER = 2.0
_SUPPORTED = 2.0
# Of a phrase in all.
_EDITS = 2
# Letters of a name of which words too short to be misspelt alone may be, too.
_LONG_NAME = 9
# Phrases compared with a text, at most: what bounds the time of one made of misspellings.
_LOOKED_AT = 10_000


@dataclass(frozen=True, slots=True)
class Match:
    """An alias of ``request_id`` at the original's characters ``start``..``end``."""

    request_id: str
    alias: str
    start: int
    end: int
    misspelt: float | None = None
    """None where the alias is spelt right; else the estimated share of ordinary prompts that hold what is typed."""


def alias_keys(alias: str) -> tuple[str, ...]:
    """The phrases an alias is found by: its words, initials together (JK for J. K.), and all together if long."""
    words = Words(alias).texts
    if not words:
        return ()
    joined: list[str] = []
    for index, word in enumerate(words):
        if joined and len(word) == 1 and index and len(words[index - 1]) == 1 and word.isascii():
            joined[-1] += word
        else:
            joined.append(word)
    keys = [phrase_key(words), phrase_key(joined)]
    together = "".join(words)
    if len(words) > 1 and len(together) >= _LONG_ENOUGH_TOGETHER:
        keys.append(phrase_key([together]))
    return tuple(dict.fromkeys(keys))


class _Level:
    """Some phrases. What finds them misspelt is made when it is first needed: levels come and go as phrases do."""

    def __init__(self, keys: dict[str, None]) -> None:
        self.keys = keys
        self.automaton = ahocorasick.Automaton()
        for key in keys:
            self.automaton.add_word(key, key)
        self.automaton.make_automaton()

    @functools.cached_property
    def anchored(self) -> dict[str, list[tuple[str, ...]]]:
        """The phrases by their rarest word."""
        anchored: dict[str, list[tuple[str, ...]]] = {}
        for key in self.keys:
            words = tuple(key.split())
            anchored.setdefault(min(words, key=lambda word: (zipf(word), -len(word))), []).append(words)
        return anchored

    @functools.cached_property
    def anchors(self) -> Neighbourhood:
        """Those words, by their spelling."""
        return Neighbourhood(self.anchored)

    @functools.cached_property
    def longest(self) -> int:
        """Words of the longest phrase."""
        return max(len(words) for phrases in self.anchored.values() for words in phrases)


class Lexicon:
    """Aho-Corasick over the folded words of all aliases; a match begins and ends with a word.

    A name is also found where words of it are misspelt: words of five letters by one edit, of nine by two, and no
    phrase by more than two. Only a word that is rare itself, and in no name, is taken for another.

    Kept in levels of geometrically growing size, so that adding a scope rebuilds a small automaton
    most of the time: amortised cost per phrase is logarithmic. Removing takes effect at once; the
    automaton forgets the phrase when its level is next rebuilt. Not thread-safe.
    """

    def __init__(self) -> None:
        self._owners: dict[str, dict[str, str]] = {}
        self._keys: dict[str, tuple[str, ...]] = {}
        self._words: Counter[str] = Counter()
        self._levels: list[_Level] = []

    def add(self, request_id: str, aliases: Iterable[str]) -> None:
        """Make ``aliases`` the names of ``request_id``, in place of those it had."""
        self.remove(request_id)
        owned = {key: alias for alias in aliases for key in alias_keys(alias)}
        self._keys[request_id] = tuple(owned)
        fresh: dict[str, None] = {}
        for key, alias in owned.items():
            if key not in self._owners:
                fresh[key] = None
                self._words.update(key.split())
            self._owners.setdefault(key, {})[request_id] = alias
        self._insert(fresh)

    def remove(self, request_id: str) -> None:
        """Forget the names of ``request_id``; unknown ids are ignored."""
        for key in self._keys.pop(request_id, ()):
            owners = self._owners[key]
            owners.pop(request_id, None)
            if not owners:
                del self._owners[key]
                for word in key.split():
                    self._words[word] -= 1
                    if not self._words[word]:
                        del self._words[word]

    def knows(self, word: str) -> bool:
        """Whether a folded word is part of a name."""
        return word in self._words

    def find(self, words: Words) -> list[Match]:
        """Every alias among ``words``, with the place of its first and last word, and those that are misspelt."""
        found: dict[tuple[str, int, int], Match] = {}
        for level in self._levels:
            for last, key in level.automaton.iter(words.key):
                # Words before the match are as many as the blanks before it.
                first = words.key.count(" ", 0, last - len(key) + 1)
                self._note(found, words, key, first, None)
        commonness = list(map(zipf, words.texts))
        if commonness and min(commonness) < _RARE:
            rare = (place for place, zipf_of in enumerate(commonness) if zipf_of < _RARE)
            unknown = [place for place in rare if self._may_misspell(words.texts[place])]
            for key, first in self._misspelt(words.texts, unknown):
                typed = words.texts[first : first + key.count(" ") - 1]
                self._note(found, words, key, first, min(1.0, phrase_frequency(" ".join(typed)) * WORDS_PER_PROMPT))
        return list(found.values())

    def _note(
        self, found: dict[tuple[str, int, int], Match], words: Words, key: str, first: int, misspelt: float | None
    ) -> None:
        owners = self._owners.get(key)
        if owners:
            start, end = words.spans[first][0], words.spans[first + key.count(" ") - 2][1]
            for request_id, alias in owners.items():
                found.setdefault((request_id, start, end), Match(request_id, alias, start, end, misspelt))

    def _may_misspell(self, word: str) -> bool:
        return len(word) >= SHORTEST and word not in self._words and not word.isdigit()

    def _misspelt(self, texts: Sequence[str], unknown: Sequence[int]) -> Iterator[tuple[str, int]]:
        """Phrases that are in the text but for some of its unknown words, and the place of their first word."""
        typed = Typed({texts[place] for place in unknown})
        places = set(unknown)
        looked_at = 0
        for level in self._levels:
            near = level.anchors.near(typed)
            around = {
                other
                for place in unknown
                for other in range(max(0, place - level.longest + 1), min(len(texts), place + level.longest))
            }
            for place in sorted(around):
                for anchor in (texts[place], *near.get(texts[place], ())):
                    for phrase in level.anchored.get(anchor, ()):
                        looked_at += 1
                        if looked_at > _LOOKED_AT:
                            return
                        first = place - phrase.index(anchor)
                        if _stands_at(phrase, texts, first, places):
                            yield phrase_key(phrase), first

    def _insert(self, fresh: dict[str, None]) -> None:
        while fresh and self._levels and len(self._levels[-1].keys) < _FANOUT * len(fresh):
            older = self._levels.pop().keys
            fresh = {key: None for key in older if key in self._owners} | fresh
        if fresh:
            self._levels.append(_Level(fresh))


def _stands_at(phrase: Sequence[str], texts: Sequence[str], first: int, unknown: Collection[int]) -> bool:
    """Whether a phrase stands at a place, with one or two edits in words that are unknown."""
    if first < 0 or first + len(phrase) > len(texts):
        return False
    supported = len(phrase) > 1
    letters = sum(map(len, phrase))
    edits = 0
    for place, word in enumerate(phrase, first):
        if texts[place] != word:
            # A short word may be misspelt in a name that is long as a whole.
            allowed = tolerance(word) or int(supported and len(word) >= SHORTEST and letters >= _LONG_NAME)
            edits += OSA.distance(texts[place], word)
            if place not in unknown or edits > _EDITS or OSA.distance(texts[place], word) > allowed:
                return False
            if zipf(texts[place]) > max(zipf(word) - _RARER, _SUPPORTED if supported else 0.0):
                return False
    return edits > 0
