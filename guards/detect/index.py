"""Which scopes' forget items lie near a vector: exactly, or from some size on by inverted lists."""

from __future__ import annotations

import heapq
import logging
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.detect.levels import InvertedLevel, Level

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

_LOG = logging.getLogger(__name__)
# Vectors from which on inverted lists are worth building: below, an exact search takes less than a millisecond.
_CROSSOVER = 20_000
# A level takes in the level before it when that is less than this many times larger.
_FANOUT = 4


class VectorIndex:
    """Vectors of many requests. Adds and removes take effect at once, also while inverted lists are being built.

    Kept in levels of geometrically growing size, as a log-structured merge tree: a few with inverted lists and, for
    what came last, a few that are searched exactly. Once the latter hold ``crossover`` vectors they are built into
    the former by a thread of its own, and swapped for it in one step. Vectors are referred to and not copied, but
    for those that are searched exactly. One thread adds and removes; others may search meanwhile.

    ``start`` starts a build: it is given what to run.
    """

    def __init__(
        self,
        dimension: int,
        *,
        crossover: int = _CROSSOVER,
        start: Callable[[Callable[[], None]], Any] | None = None,
    ) -> None:
        self._dimension = dimension
        self._crossover = crossover
        self._start = start or _in_thread
        self._levels: tuple[Level, ...] = ()
        self._where: dict[str, tuple[Level, int]] = {}
        self._changing = threading.Condition()
        self._building = False

    def __len__(self) -> int:
        return sum(level.living for level in self._levels)

    @property
    def effort(self) -> int:
        """About how many vectors a search compares with each row."""
        return sum(level.effort for level in self._levels)

    @property
    def own_bytes(self) -> int:
        """Memory taken besides the vectors that were given."""
        return sum(level.own_bytes for level in self._levels)

    def settle(self) -> None:
        """Wait until no build is under way, and none is due."""
        with self._changing:
            self._changing.wait_for(lambda: not self._building)

    def add(self, request_id: str, vectors: NDArray[np.floating]) -> None:
        """Make ``vectors`` [n, dimension], unit rows, those of ``request_id``, in place of what it had."""
        with self._changing:
            self.remove(request_id)
            if len(vectors):
                self._insert({request_id: vectors})
                self._build_if_due()

    def remove(self, request_id: str) -> None:
        """Forget the vectors of ``request_id``; unknown ids are ignored."""
        with self._changing:
            level, place = self._where.pop(request_id, (None, 0))
            if level is None:
                return
            level.lose(place)
            if not level.frozen and level.sparse:
                self._thin_out(level)

    def search(self, vectors: NDArray[np.float32], requests: int) -> list[dict[str, float]]:
        """For each row the ``requests`` nearest requests, nearest first, with the cosine of each one's nearest item.

        As many items are looked up as that takes: a request with many items must not hide another.
        """
        rows = np.ascontiguousarray(vectors)
        found: list[dict[str, float]] = [{} for _ in rows]
        if not len(rows):
            return found
        for level in self._levels:
            for best, more in zip(found, level.search(rows, requests), strict=True):
                best |= more
        return [dict(heapq.nlargest(requests, best.items(), key=lambda item: item[1])) for best in found]

    def _insert(self, vectors: Mapping[str, NDArray[np.floating]]) -> None:
        levels, size = list(self._levels), sum(map(len, vectors.values()))
        while levels and _is_flat(levels[-1]) and not levels[-1].frozen and levels[-1].living < _FANOUT * size:
            older = levels.pop()
            vectors = {**dict(older.items()), **vectors}
            size += older.living
        level = Level(vectors)
        self._where.update({request: (level, place) for place, request in enumerate(level.requests)})
        self._levels = (*levels, level)

    def _thin_out(self, level: Level) -> None:
        """Give back the memory of a level that has lost most of its vectors."""
        if level.living and not _is_flat(level):
            self._build_if_due()
            return
        self._levels = tuple(each for each in self._levels if each is not level)
        if level.living:
            self._insert(dict(level.items()))

    def _build_if_due(self) -> None:
        if self._building:
            return
        flat = [level for level in self._levels if _is_flat(level)]
        lists = [level for level in self._levels if not _is_flat(level)]
        size = sum(level.living for level in flat)
        sources = flat if size >= self._crossover else []
        for level in reversed(lists):
            if level.sparse or (sources and level.living < _FANOUT * size):
                sources = [level, *sources]
                size += level.living
        if sources:
            self._build(sources)

    def _build(self, sources: list[Level]) -> None:
        vectors = {request: each for level in sources for request, each in level.items()}
        for level in sources:
            level.frozen = True
        self._building = True
        try:
            self._start(lambda: self._run(sources, vectors))
        except RuntimeError as error:
            self._end(sources, error)

    def _run(self, sources: list[Level], vectors: dict[str, NDArray[np.floating]]) -> None:
        failure = None
        try:
            enough = sum(map(len, vectors.values())) >= self._crossover
            self._swap(sources, InvertedLevel(vectors) if enough else Level(vectors))
        except Exception as error:
            failure = error
        with self._changing:
            self._end(sources, failure)
            if failure is None:
                self._build_if_due()

    def _end(self, sources: list[Level], failure: Exception | None) -> None:
        """Be ready for the next build. What could not be built is searched as before, and tried again with more."""
        if failure is not None:
            _LOG.error("inverted lists could not be built: %s", type(failure).__name__)
            self._crossover *= 2
        for level in sources:
            level.frozen = False
        self._levels = tuple(level for level in self._levels if level.living)
        self._building = False
        self._changing.notify_all()

    def _swap(self, sources: list[Level], built: Level) -> None:
        with self._changing:
            moved = {}
            for place, request in enumerate(built.requests):
                level, _ = self._where.get(request, (None, 0))
                if level in sources:
                    moved[request] = built, place
                else:
                    built.lose(place)
            others = [level for level in self._levels if level not in sources]
            self._where |= moved
            self._levels = tuple(sorted([*others, built], key=_is_flat))


def _is_flat(level: Level) -> bool:
    return not isinstance(level, InvertedLevel)


def _in_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="index", daemon=True).start()
