"""The windows that an encoder need not read: those that static embeddings tell to be surely outside every scope."""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from guards.detect.evidence import WindowText
from guards.detect.index import VectorIndex
from guards.detect.passages import make_passage, room_of
from guards.detect.recollection import Recollection
from guards.detect.static import coverage
from guards.detect.windows import rows_at
from guards.detect.words import Words

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from guards.detect.applied import AppliedScopes
    from guards.detect.batching import EncoderQueue
    from guards.detect.passages import Passage
    from guards.detect.static import StaticEncoder
    from guards.detect.windows import Window
    from guards.scope import Scope

# More than a cosine may lose by items that are kept in half precision: 1/2048, as all vectors are of length one.
_ROUNDING: Final = 1e-3
# Of a window's words, those that have to be English ones: of others static embeddings say nothing.
COVERED: Final = 0.95
# Room for texts of which it is remembered what was found, until a scope changes: by `room_of`.
_REMEMBERED = 60_000
# Characters, and comparisons of vectors, from which on a text is looked at in another thread.
_LONG = 4_000
_QUICK_SEARCH = 10_000
# Characters of a window, about.
_WINDOW = 100
# How often texts are looked at again because scopes changed meanwhile, before they are read in full.
_TRIES = 3


@dataclass(slots=True)
class _Glance:
    """A text before the encoder reads it."""

    words: Words
    windows: Sequence[Window]
    likely: list[float]
    """How near each window comes to a forget item: a cosine, or infinity where its words ask for the encoder."""
    named: bool = False
    """Whether a subject's name stands in it."""
    last: tuple[tuple[int, ...], Passage] | None = None
    """The windows that were chosen last, and what was read of them."""


class Prefilter:
    """Has the encoder read those windows only that may be in a scope. Lives on the event loop's thread.

    A window is surely outside where its static vector is farther from every forget item than those of prompts that the
    whole detector finds (`Cutoff`), at least 95 % of its words are English, and no subject's name stands in it and no
    word that is written as a name in a forget item. In a request in which a subject's name stands nothing is surely
    outside, nor in a text that is word for word an item.

    Of those that remain, at most ``windows`` are read, the likeliest first: in a long text among ordinary
    ones, the one that asks is nearly always the first (`benchmarks/static_embeddings.py`). Windows that static
    embeddings say nothing of are read besides. All this holds of what asks and of what is supplied, each by itself.

    The cutoff was found with an exact search; from 20,000 items on the search may miss the nearest.
    """

    def __init__(
        self, queue: EncoderQueue, static: StaticEncoder, scopes: AppliedScopes, *, windows: int | None = None
    ) -> None:
        self._queue = queue
        self._static = static
        self._scopes = scopes
        self._most = windows
        self._items = VectorIndex(static.dimension)
        self._known: Counter[str] = Counter()
        self._words: dict[str, set[str]] = {}
        """By request, the words written as names in its forget items."""
        self._glances: Recollection[_Glance] = Recollection(_REMEMBERED)
        self._changes = 0

    def apply(self, scope: Scope) -> None:
        """Let through what may be in ``scope``, in place of any other version of its request."""
        self.remove(scope.request_id)
        texts = scope.forget.texts
        if texts:
            self._items.add(scope.request_id, self._static.encode(texts).astype(np.float16))
        self._words[scope.request_id] = {word for text in texts for word in _telling(WindowText.of(text))}
        self._known.update(self._words[scope.request_id])

    def remove(self, request_id: str) -> None:
        """Forget the scope of ``request_id``; unknown ids are ignored."""
        self._items.remove(request_id)
        for word in self._words.pop(request_id, ()):
            self._known[word] -= 1
            if not self._known[word]:
                del self._known[word]
        self._glances.clear()
        self._changes += 1

    def likely(self, text: str) -> float:
        """How near a text comes to a scope: the highest of its windows' cosines, or infinity where it must be read."""
        glance = self._checked(self._look(text))
        return math.inf if glance.named else max(glance.likely, default=-math.inf)

    async def read(self, texts: Sequence[str], supplied: Sequence[bool], timings: dict[str, float]) -> list[Passage]:
        """The passages of a request's texts, with those windows that the encoder reads. Seconds go to ``timings``.

        ``supplied`` tells of each text whether it only supplies.

        Raises:
            CannotDecide: the encoder failed or is overloaded (`Overloaded`).
        """
        for _ in range(_TRIES):
            changes, started = self._changes, time.perf_counter()
            glances = await self._glances_of(list(dict.fromkeys(texts)))
            chosen: dict[str, tuple[int, ...]] = {}
            for kind in (True, False):  # what stands in both is read as what asks
                own = {text: glances[text] for text, each in zip(texts, supplied, strict=True) if each is kind}
                chosen |= zip(own, self._choose(list(own.values())), strict=True)
            timings["static"] = timings.get("static", 0.0) + time.perf_counter() - started
            passages = await self._passages(glances, chosen)
            if changes == self._changes:
                return [passages[text] for text in texts]
        return await self._queue.read(texts)

    async def _passages(
        self, glances: Mapping[str, _Glance], chosen: Mapping[str, tuple[int, ...]]
    ) -> dict[str, Passage]:
        read = {
            text: glance.last[1]
            for text, glance in glances.items()
            if glance.last is not None and glance.last[0] == chosen[text]
        }
        pieces = {
            text: [_piece(text, glance.windows[row]) for row in chosen[text]]
            for text, glance in glances.items()
            if text not in read
        }
        vectors = await self._queue.encode([piece for of_text in pieces.values() for piece in of_text])
        position = 0
        for text in pieces:
            glance, rows = glances[text], chosen[text]
            own = vectors[position : position + len(rows)].copy()
            read[text] = make_passage(text, [glance.windows[row] for row in rows], own, glance.words)
            glance.last = rows, read[text]
            position += len(rows)
        return read

    def _choose(self, glances: Sequence[_Glance]) -> list[tuple[int, ...]]:
        """For each text the windows to read."""
        least = -math.inf if any(glance.named for glance in glances) else self._static.cutoff.threshold - _ROUNDING
        found = [
            (likely, -place, -row)
            for place, glance in enumerate(glances)
            for row, likely in enumerate(glance.likely)
            if likely >= least
        ]
        if self._most is not None and len(found) > self._most:
            asked = [one for one in found if one[0] == math.inf]
            found = asked + heapq.nlargest(self._most, (one for one in found if one[0] < math.inf))
        chosen: list[list[int]] = [[] for _ in glances]
        for _, place, row in found:
            chosen[-place].append(-row)
        return [tuple(sorted(rows)) for rows in chosen]

    async def _glances_of(self, texts: Sequence[str]) -> dict[str, _Glance]:
        known = {text: self._glances.get(text) for text in texts}
        unseen = [text for text, glance in known.items() if glance is None]
        changes = self._changes
        characters = sum(map(len, unseen))
        compared = (len(unseen) + characters // _WINDOW) * self._items.effort
        if characters > _LONG or compared > _QUICK_SEARCH:
            looked = await asyncio.to_thread(lambda: list(map(self._look, unseen)))
        else:
            looked = list(map(self._look, unseen))
        for text, glance in zip(unseen, map(self._checked, looked), strict=True):
            known[text] = glance
            if changes == self._changes:
                self._glances.put(text, glance, room_of(len(glance.windows), len(text)))
        return {text: glance for text, glance in known.items() if glance is not None}

    def _checked(self, glance: _Glance) -> _Glance:
        """With what names and items say, which only this thread may ask for."""
        matches = self._scopes.names.find(glance.words)
        glance.named = bool(matches)
        if self._scopes.decreed(glance.words):
            glance.likely = [math.inf] * len(glance.windows)
        for rows in rows_at(glance.windows, ((match.start, match.end) for match in matches)):
            for row in rows:
                glance.likely[row] = math.inf
        return glance

    def _look(self, text: str) -> _Glance:
        windows, vectors = self._static.windows(text)
        nearest = [max(near.values(), default=-math.inf) for near in self._items.search(vectors, 1)]
        words = Words(text)
        if len(windows) == 1:
            likely = [self._likely(text, words, nearest[0])]
        else:
            pieces = [_piece(text, window) for window in windows]
            likely = [self._likely(piece, Words(piece), near) for piece, near in zip(pieces, nearest, strict=True)]
        return _Glance(words, windows, likely)

    def _likely(self, text: str, words: Words, nearest: float) -> float:
        if coverage(words) < COVERED:
            return math.inf
        if self._known.keys().isdisjoint(words.texts) or self._known.keys().isdisjoint(
            WindowText.of(text, words).names
        ):
            return nearest
        return math.inf


def _telling(text: WindowText) -> Collection[str]:
    return [word for word, weight in text.names.items() if weight > 0.0]


def _piece(text: str, window: Window) -> str:
    return text[window.start : window.end]
