"""The scopes that are detected by, and what finds those that a text may be about."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from guards.detect.index import VectorIndex
from guards.detect.lexical import Lexicon
from guards.detect.scoring import ScopeScorer
from guards.detect.sieve import Sieve
from guards.detect.words import Words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from guards.detect.calibration import Calibration
    from guards.scope import Scope

# Scopes kept ready for judging: making one ready takes a tenth of a millisecond.
_SCORERS = 4_096


class AppliedScopes:
    """Scopes in memory. Lives on the event loop's thread."""

    def __init__(self, calibration: Calibration) -> None:
        self._calibration = calibration
        self._scopes: dict[str, Scope] = {}
        self._decrees: dict[int, tuple[str, ...]] = {}
        """By the hash of an item's words, the requests that have it."""
        self._scorers: OrderedDict[str, ScopeScorer] = OrderedDict()
        """Those made last; a scorer takes several times the memory of its scope."""
        self.vectors = VectorIndex(calibration.background.vectors.shape[1])
        """Of every scope's forget items."""
        self.names = Lexicon()
        """Of every scope's subject."""
        self.sieve = Sieve(calibration)
        """Of what could speak for each."""
        self.changes = 0
        """Counts up: what was found out about a text holds as long as this stays."""

    def __len__(self) -> int:
        return len(self._scopes)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._scopes

    def __iter__(self) -> Iterator[str]:
        """The ids of their requests, in order of application."""
        return iter(self._scopes)

    def scopes(self) -> list[Scope]:
        """In order of application."""
        return list(self._scopes.values())

    def apply(self, scope: Scope) -> None:
        """Detect by ``scope`` from now on, in place of any other version of its request.

        Raises:
            ValueError: its vectors were made by another encoder; the request must be compiled again.
        """
        if scope.encoder != self._calibration.encoder:
            raise ValueError("the scope was compiled with another encoder")
        self.remove(scope.request_id)
        self.vectors.add(scope.request_id, scope.forget.vectors)
        self.names.add(scope.request_id, [alias.text for alias in scope.aliases])
        forget, retain = ([Words(text) for text in items.texts] for items in (scope.forget, scope.retain))
        self.sieve.add(scope, forget)
        alone = (scope.request_id,)
        for item in _keys(forget + retain):
            owners = self._decrees.setdefault(item, alone)
            if scope.request_id not in owners:
                self._decrees[item] = (*owners, scope.request_id)
        self._scopes[scope.request_id] = scope
        self.changes += 1

    def remove(self, request_id: str) -> None:
        """Stop detecting by the scope of ``request_id``; unknown ids are ignored."""
        scope = self._scopes.pop(request_id, None)
        if scope is None:
            return
        self.changes += 1
        self._scorers.pop(request_id, None)
        self.names.remove(request_id)
        self.sieve.remove(request_id)
        self.vectors.remove(request_id)
        for item in _keys(Words(text) for text in (*scope.forget.texts, *scope.retain.texts)):
            owners = tuple(owner for owner in self._decrees.pop(item) if owner != request_id)
            if owners:
                self._decrees[item] = owners

    def scorer(self, request_id: str) -> ScopeScorer:
        """What judges texts by the scope of ``request_id``, which has to be applied."""
        scorer = self._scorers.get(request_id)
        if scorer is None:
            scorer = self._scorers[request_id] = ScopeScorer(self._scopes[request_id], self._calibration)
            if len(self._scorers) > _SCORERS:
                self._scorers.popitem(last=False)
        self._scorers.move_to_end(request_id)
        return scorer

    def decreed(self, words: Words) -> Sequence[str]:
        """The requests that have an item of the same words."""
        return self._decrees.get(hash(words.key), ())


def _keys(items: Iterable[Words]) -> set[int]:
    """Hashes of the words of each item: only who has the same words is judged by them."""
    return {hash(words.key) for words in items}
