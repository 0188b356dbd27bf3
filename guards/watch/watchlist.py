"""The phrases of every scope in force, ready to be matched."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from guards.phrases.matching import PhraseSet
from guards.phrases.phrase import PhraseClass
from guards.scope import Mode

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from guards.phrases.phrase import Phrase
    from guards.scope import Scope

# A level takes in the level before it when that is less than this many times larger.
_FANOUT = 4
# Sets of names kept ready: one for each combination of scopes that prompts came near to lately.
_READY = 256
# From so many names on, which take a few milliseconds, such a set is built off the event loop.
_MANY: Final = 100
# How often one is built anew whose scopes were replaced meanwhile.
_TRIES: Final = 3


class Watchlist:
    """Facts of all scopes as phrase sets in levels of geometrically growing size, names by request.

    Adding a scope builds a small set most of the time. Removing takes effect at once: what a set still
    holds of it is passed over (`live`). Only scopes in enforce mode are held. Not thread-safe.
    """

    def __init__(self) -> None:
        self._scopes: dict[str, Scope] = {}
        self._owners: dict[str, str] = {}
        """By request: the owner of its phrases."""
        self._levels: list[tuple[dict[str, Scope], PhraseSet]] = []
        self._names: dict[tuple[str, ...], PhraseSet] = {}
        self._preparing = asyncio.Lock()

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
        self._owners[scope.request_id] = owner(scope)
        self._levels = levels

    def remove(self, request_id: str) -> None:
        """Stop watching for the phrases of ``request_id``; unknown ids are ignored."""
        name = self._owners.pop(request_id, None)
        if name is not None:
            del self._scopes[name]
            for key in [key for key in self._names if name in key]:
                del self._names[key]

    def live(self, name: str) -> Scope | None:
        """The scope that an owner of phrases stands for, while it is in force."""
        return self._scopes.get(name)

    def facts(self) -> tuple[PhraseSet, ...]:
        """What is watched for on every answer."""
        return tuple(phrases for _, phrases in self._levels)

    async def prepare(self, request_ids: Collection[str]) -> None:
        """Have ready what `names` gives for these requests, if it takes long to build: in a thread, and once.

        Building goes on if this is cancelled: others may wait for it, and the next request needs it.
        """
        for _ in range(_TRIES):
            held = self.scopes(request_ids)
            if tuple(held) in self._names or sum(map(_names, held.values())) < _MANY:
                return
            await asyncio.shield(self._build(held))

    async def _build(self, held: Mapping[str, Scope]) -> None:
        async with self._preparing:
            if tuple(held) in self._names:
                return
            ready = await asyncio.to_thread(_name_set, held)
            # What was withdrawn meanwhile must not come back.
            if all(self._scopes.get(name) is scope for name, scope in held.items()):
                self._keep(tuple(held), ready)

    def names(self, request_ids: Collection[str]) -> PhraseSet:
        """What is watched for besides where a prompt comes near to these requests."""
        held = self.scopes(request_ids)
        ready = self._names.get(tuple(held))
        if ready is None:
            ready = _name_set(held)
            self._keep(tuple(held), ready)
        return ready

    def scopes(self, request_ids: Collection[str]) -> dict[str, Scope]:
        """The scopes in force of some requests, by the owner that their phrases go by, whatever order they come in."""
        names = sorted(self._owners[each] for each in set(request_ids) if each in self._owners)
        return {name: self._scopes[name] for name in names}

    def _keep(self, owners: tuple[str, ...], names: PhraseSet) -> None:
        while len(self._names) >= _READY:
            del self._names[next(iter(self._names))]
        self._names[owners] = names


def owner(scope: Scope) -> str:
    """Who owns a phrase: one version of a request."""
    return f"{scope.request_id}/{scope.version}"


def scope_of(name: str) -> str:
    """The request that an owner is a version of."""
    return name.partition("/")[0]


def _names(scope: Scope) -> int:
    return sum(phrase.kind is PhraseClass.NAME for phrase in scope.phrases)


def _facts(scope: Scope) -> list[Phrase]:
    return [phrase for phrase in scope.phrases if phrase.kind is PhraseClass.FACT]


def _size(scope: Scope) -> int:
    return len(_facts(scope)) + 1


def _name_set(held: Mapping[str, Scope]) -> PhraseSet:
    return PhraseSet(
        (name, phrase) for name, scope in held.items() for phrase in scope.phrases if phrase.kind is PhraseClass.NAME
    )


def _fact_set(held: Sequence[Scope]) -> PhraseSet:
    return PhraseSet(
        ((owner(scope), phrase) for scope in held for phrase in _facts(scope)),
        shingles={owner(scope): scope.shingles for scope in held if scope.shingles is not None},
    )
