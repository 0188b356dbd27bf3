"""Names of every scope, found in a prompt in one pass."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ahocorasick

from guards.detect.words import Words, phrase_key

if TYPE_CHECKING:
    from collections.abc import Iterable

# A level of the lexicon takes in the level before it when that is less than this many times larger.
_FANOUT = 4
# Letters from which on words written together (a hashtag) are no ordinary word of their own.
_LONG_ENOUGH_TOGETHER = 8


@dataclass(frozen=True, slots=True)
class Match:
    """An alias of ``request_id`` at the original's characters ``start``..``end``."""

    request_id: str
    alias: str
    start: int
    end: int


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


class Lexicon:
    """Aho-Corasick over the folded words of all aliases; a match begins and ends with a word.

    Kept in levels of geometrically growing size, so that adding a scope rebuilds a small automaton
    most of the time: amortised cost per phrase is logarithmic. Removing takes effect at once; the
    automaton forgets the phrase when its level is next rebuilt. Not thread-safe.
    """

    def __init__(self) -> None:
        self._owners: dict[str, dict[str, str]] = {}
        self._keys: dict[str, tuple[str, ...]] = {}
        self._words: Counter[str] = Counter()
        self._levels: list[tuple[dict[str, None], ahocorasick.Automaton]] = []

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
        """Every alias among ``words``, with the place of its first and last word."""
        found: dict[tuple[str, int, int], Match] = {}
        for _, automaton in self._levels:
            for last, key in automaton.iter(words.key):
                owners = self._owners.get(key)
                if not owners:
                    continue
                # Words before the match are as many as the blanks before it.
                first = words.key.count(" ", 0, last - len(key) + 1)
                final = first + key.count(" ") - 2
                start, end = words.spans[first][0], words.spans[final][1]
                for request_id, alias in owners.items():
                    found[request_id, start, end] = Match(request_id, alias, start, end)
        return list(found.values())

    def _insert(self, fresh: dict[str, None]) -> None:
        while fresh and self._levels and len(self._levels[-1][0]) < _FANOUT * len(fresh):
            older, _ = self._levels.pop()
            fresh = {key: None for key in older if key in self._owners} | fresh
        if fresh:
            automaton = ahocorasick.Automaton()
            for key in fresh:
                automaton.add_word(key, key)
            automaton.make_automaton()
            self._levels.append((fresh, automaton))
