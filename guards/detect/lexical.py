"""Names of every scope, found in a prompt in one pass, spelt right or nearly so."""

from __future__ import annotations

import bisect
import functools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guards.detect.misspelling import SHORTEST, Neighbourhood, Typed, tolerance
from guards.detect.slips import RARE, slipped
from guards.detect.words import WORDS_PER_PROMPT, Words, listed_from, phrase_frequency, phrase_key, zipf

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

# A level takes in the level before it when that is less than this many times larger.
_FANOUT = 16
# Letters from which on words written together (a hashtag) are no ordinary word of their own.
_LONG_ENOUGH_TOGETHER = 8
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


def by_request(matches: Iterable[Match]) -> dict[str, list[Match]]:
    """Matches by the request whose name they are."""
    grouped: dict[str, list[Match]] = {}
    for match in matches:
        grouped.setdefault(match.request_id, []).append(match)
    return grouped


def alias_keys(alias: str) -> tuple[str, ...]:
    """The phrases an alias is found by: its words, and with some of them written together.

    Initials (JK for J. K.), what a hyphen or an apostrophe parts, and all if that is long.
    """
    read = Words(alias)
    words = read.texts
    if not words:
        return ()
    joined: list[str] = []
    for index, word in enumerate(words):
        if joined and len(word) == 1 and index and len(words[index - 1]) == 1 and word.isascii():
            joined[-1] += word
        else:
            joined.append(word)
    keys = [phrase_key(words), phrase_key(joined)]
    compounded, _ = _together(words, read.compounds())
    if len(compounded) > 1:
        keys.append(phrase_key(compounded))
    together = "".join(words)
    if len(words) > 1 and len(together) >= _LONG_ENOUGH_TOGETHER:
        keys.append(phrase_key([together]))
    return tuple(dict.fromkeys(keys))


_Phrase = tuple[str, ...]


class _Anchors:
    """Some words by which phrases are found. Their neighbourhood is made when it is first needed."""

    def __init__(self, words: dict[str, None]) -> None:
        self.words = words

    @functools.cached_property
    def neighbourhood(self) -> Neighbourhood:
        """What finds them misspelt."""
        return Neighbourhood(self.words)


class Lexicon:
    """The folded words of all aliases, each alias under its rarest word; a match begins and ends with a word.

    Finding looks up every word of a text, and compares those few phrases that have it as their rarest, whatever the
    number of others. A name is also found where words of it are misspelt: words of five letters by one edit, of nine
    by two, and no phrase by more than two. Only a word that is rare itself, and in no name, is taken for another.

    What finds misspellings is kept in levels of geometrically growing size, so that adding a scope makes a small one
    anew most of the time. Removing takes effect at once. Not thread-safe.
    """

    def __init__(self) -> None:
        self._owners: dict[_Phrase, dict[str, str]] = {}
        self._phrases: dict[str, tuple[_Phrase, ...]] = {}
        self._words: Counter[str] = Counter()
        self._anchored: dict[str, dict[tuple[int, int], set[_Phrase]]] = {}
        """By their rarest word, and its place and their length: phrases."""
        self._levels: list[_Anchors] = []
        self._longest = 0
        self._common = listed_from(RARE)

    def add(self, request_id: str, aliases: Iterable[str]) -> None:
        """Make ``aliases`` the names of ``request_id``, in place of those it had."""
        self.remove(request_id)
        owned = {tuple(key.split()): alias for alias in aliases for key in alias_keys(alias)}
        self._phrases[request_id] = tuple(owned)
        fresh: dict[str, None] = {}
        for phrase, alias in owned.items():
            owners = self._owners.setdefault(phrase, {})
            if not owners:
                self._words.update(phrase)
                self._longest = max(self._longest, len(phrase))
                anchor = _anchor(phrase)
                if anchor not in self._anchored:
                    fresh[anchor] = None
                shape = phrase.index(anchor), len(phrase)
                self._anchored.setdefault(anchor, {}).setdefault(shape, set()).add(phrase)
            owners[request_id] = alias
        while fresh and self._levels and len(self._levels[-1].words) < _FANOUT * len(fresh):
            older = self._levels.pop().words
            fresh = {word: None for word in older if word in self._anchored} | fresh
        if fresh:
            self._levels.append(_Anchors(fresh))

    def remove(self, request_id: str) -> None:
        """Forget the names of ``request_id``; unknown ids are ignored."""
        for phrase in self._phrases.pop(request_id, ()):
            owners = self._owners[phrase]
            del owners[request_id]
            if owners:
                continue
            del self._owners[phrase]
            anchor = _anchor(phrase)
            shapes, shape = self._anchored[anchor], (phrase.index(anchor), len(phrase))
            shapes[shape].remove(phrase)
            if not shapes[shape]:
                del shapes[shape]
            if not shapes:
                del self._anchored[anchor]
            for word in phrase:
                self._words[word] -= 1
                if not self._words[word]:
                    del self._words[word]

    def knows(self, word: str) -> bool:
        """Whether a folded word is part of a name."""
        return word in self._words

    def find(self, words: Words) -> list[Match]:
        """Every alias among ``words``, with the place of its first and last word, and those that are misspelt."""
        texts, compounds = words.texts, words.compounds()
        written_apart = ["".join(texts[each.start : each.stop]) for each in compounds]
        distinct = {*texts, *written_apart}
        unknown = {
            word
            for word in distinct - self._common
            if len(word) >= SHORTEST and word not in self._words and not word.isdigit()
        }
        near = self._near(unknown)
        found: dict[tuple[str, int, int], Match] = {}
        telling = (self._anchored.keys() & distinct) | unknown
        places = [place for place, word in enumerate(texts) if word in telling] if telling else []
        for phrase, first, rate in self._standing(texts, places, near):
            self._note(found, words, phrase, range(first, first + len(phrase)), rate)
        if any(word in self._words or word in unknown for word in written_apart):
            together, firsts = _together(texts, compounds)
            places = self._around([bisect.bisect_left(firsts, each.start) for each in compounds], together)
            for phrase, first, rate in self._standing(together, places, near):
                at = range(firsts[first], firsts[first + len(phrase)])
                self._note(found, words, phrase, at, rate)
        return list(found.values())

    def _standing(
        self, texts: Sequence[str], places: Sequence[int], near: Mapping[str, Sequence[str]]
    ) -> Iterator[tuple[_Phrase, int, float | None]]:
        """Phrases that have a word at one of some places, the place of their first word, and `Match.misspelt`."""
        for place in places:
            for before, length in self._anchored.get(texts[place], ()):
                first = place - before
                phrase = tuple(texts[first : first + length]) if first >= 0 else ()
                if phrase in self._owners:
                    yield phrase, first, None
        for phrase, first in self._misspelt(texts, [place for place in places if texts[place] in near], near):
            typed = " ".join(texts[first : first + len(phrase)])
            yield phrase, first, min(1.0, phrase_frequency(typed) * WORDS_PER_PROMPT)

    def _around(self, places: Iterable[int], texts: Sequence[str]) -> list[int]:
        """The places at which the words of a phrase may stand that has a word at one of ``places``."""
        most, end = self._longest - 1, len(texts)
        around = {other for place in places for other in range(place - most, place + most + 1)}
        return sorted(other for other in around if 0 <= other < end)

    def _note(
        self, found: dict[tuple[str, int, int], Match], words: Words, phrase: _Phrase, at: range, rate: float | None
    ) -> None:
        start, end = words.spans[at.start][0], words.spans[at.stop - 1][1]
        for request_id, alias in self._owners[phrase].items():
            found.setdefault((request_id, start, end), Match(request_id, alias, start, end, rate))

    def _near(self, unknown: Collection[str]) -> dict[str, list[str]]:
        """Each unknown word, and the anchors that it may be a misspelling of."""
        near: dict[str, list[str]] = {word: [] for word in unknown}
        if unknown:
            typed = Typed(unknown)
            for level in self._levels:
                for word, anchors in level.neighbourhood.near(typed).items():
                    near[word] += anchors
        return near

    def _misspelt(
        self, texts: Sequence[str], unknown: Sequence[int], near: Mapping[str, Sequence[str]]
    ) -> Iterator[tuple[_Phrase, int]]:
        """Phrases that are in the text but for some of its unknown words, and the place of their first word."""
        looked_at = 0
        for place in self._around(unknown, texts):
            for anchor in (texts[place], *near.get(texts[place], ())):
                for (before, _), phrases in self._anchored.get(anchor, {}).items():
                    looked_at += len(phrases)
                    if looked_at > _LOOKED_AT:
                        return
                    for phrase in phrases:
                        first = place - before
                        typed = texts[first : first + len(phrase)] if first >= 0 else ()
                        if len(typed) == len(phrase) and slipped(typed, phrase, self.knows):
                            yield phrase, first


def _together(texts: Sequence[str], compounds: Iterable[range]) -> tuple[list[str], list[int]]:
    """The words of a text with each compound as one word; and for each the place of its first, then the text's end."""
    together: list[str] = []
    firsts: list[int] = []
    place = 0
    for compound in compounds:
        together += texts[place : compound.start]
        together.append("".join(texts[compound.start : compound.stop]))
        firsts += range(place, compound.start + 1)
        place = compound.stop
    return together + list(texts[place:]), firsts + list(range(place, len(texts) + 1))


def _anchor(phrase: _Phrase) -> str:
    """The word a phrase is found by: the rarest of those long enough to be known misspelt, if there is one."""
    return min([word for word in phrase if tolerance(word)] or phrase, key=lambda word: (zipf(word), -len(word)))
