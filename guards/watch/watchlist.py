"""The phrases of every scope in force, ready to be matched."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from guards.phrases.matching import PhraseSet
from guards.phrases.phrase import PhraseClass
from guards.scope import Mode

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from guards.phrases.phrase import Phrase
    from guards.scope import Scope

# A level takes in the level before it when that is less than this many times larger.
_FANOUT = 4
# Sets of names kept ready: one for each combination of scopes that prompts came near to lately.
_READY = 256


class Watchlist:
    """Facts of all scopes as phrase sets in levels of geometrically growing size, names by request.

    Adding a scope builds a small set most of the time. Removing takes effect at once: what a set still
    holds of it is passed over (`live`). Only scopes in enforce mode are held. Not thread-safe.
    """

    def __init__(self) -> None:
        self._scopes: dict[str, Scope] = {}
        self._levels: list[tuple[dict[str, Scope], PhraseSet]] = []
        self._names: dict[tuple[str, ...], PhraseSet] = {}

    async def apply(self, scope: Scope) -> None:
        """Watch for the phrases of ``scope`` from now on, in place of any other version of its request.

        The sets are built in a thread: ten thousand phrases take a second. Calls must not overlap.
        """
        if scope.mode is not Mode.ENFORCE:
            self.remove(scope.request_id)
            return
        levels = list(self._levels)
        if _facts(scope) or scope.shingles is not None:
            fresh = {owner(scope): scope}
            while levels and len(levels[-1][1]) < _FANOUT * sum(map(_size, fresh.values())):
                older, _ = levels.pop()
                fresh = {name: held for name, held in older.items() if name in self._scopes} | fresh
            levels.append((fresh, await asyncio.to_thread(_fact_set, list(fresh.values()))))
        self.remove(scope.request_id)
        self._scopes[owner(scope)] = scope
        self._levels = levels

    def remove(self, request_id: str) -> None:
        """Stop watching for the phrases of ``request_id``; unknown ids are ignored."""
        for name in [name for name, scope in self._scopes.items() if scope.request_id == request_id]:
            del self._scopes[name]
        for key in [key for key in self._names if any(scope_of(name) == request_id for name in key)]:
            del self._names[key]

    def live(self, name: str) -> Scope | None:
        """The scope that an owner of phrases stands for, while it is in force."""
        return self._scopes.get(name)

    def facts(self) -> tuple[PhraseSet, ...]:
        """What is watched for on every answer."""
        return tuple(phrases for _, phrases in self._levels)

    def names(self, request_ids: Collection[str]) -> PhraseSet:
        """What is watched for besides where a prompt comes near to these requests."""
        owners = tuple(sorted(name for name in self._scopes if scope_of(name) in request_ids))
        ready = self._names.get(owners)
        if ready is None:
            while len(self._names) >= _READY:
                del self._names[next(iter(self._names))]
            held = [(name, phrase) for name in owners for phrase in self._scopes[name].phrases]
            ready = PhraseSet((name, phrase) for name, phrase in held if phrase.kind is PhraseClass.NAME)
            self._names[owners] = ready
        return ready

    def scopes(self, request_ids: Collection[str]) -> list[tuple[str, Scope]]:
        """The scopes in force of some requests, with the owner that their phrases go by."""
        return [(name, scope) for name, scope in self._scopes.items() if scope.request_id in request_ids]


def owner(scope: Scope) -> str:
    """Who owns a phrase: one version of a request."""
    return f"{scope.request_id}/{scope.version}"


def scope_of(name: str) -> str:
    """The request that an owner is a version of."""
    return name.partition("/")[0]


def _facts(scope: Scope) -> list[Phrase]:
    return [phrase for phrase in scope.phrases if phrase.kind is PhraseClass.FACT]


def _size(scope: Scope) -> int:
    return len(_facts(scope)) + 1


def _fact_set(held: Sequence[Scope]) -> PhraseSet:
    return PhraseSet(
        ((owner(scope), phrase) for scope in held for phrase in _facts(scope)),
        shingles={owner(scope): scope.shingles for scope in held if scope.shingles is not None},
    )
