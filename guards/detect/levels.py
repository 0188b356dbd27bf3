"""Parts of the vector index, searched with FAISS by inner product. A part never gains vectors; it can lose some."""

from __future__ import annotations

import math
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any

import faiss as typed_faiss
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

# Its type stubs know neither the parameters of a search nor bitmaps.
faiss: Any = typed_faiss
# Items looked at, at least and for each request wanted: one look is nearly always enough, and so are four-bit codes.
ITEMS = 256
_ITEMS_EACH = 16
# Vectors whose codes are compared first, and by how many times more where those are too few: about three milliseconds.
_COMPARED = 16_000
_WIDEN = 4
# Requests found, as a multiple of those wanted, that are ranked by all of their vectors; and of how many at most.
_RANKED_EXACTLY = 2
_COMPARED_EXACTLY = 4_096
# For k-means: vectors of each list, and rounds. More of either takes longer and finds nothing more.
_TRAINED_ON = 40
_ROUNDS = 8


class Level:
    """Vectors of several requests, searched exactly. Losing some is safe while another thread searches.

    ``vectors`` maps requests to their vectors [n, dimension], unit rows.
    """

    def __init__(self, vectors: Mapping[str, NDArray[np.floating]]) -> None:
        self.requests = tuple(vectors)
        self.frozen = False
        """Whether a level is being built that will replace this one."""
        self._vectors = tuple(vectors.values())
        self._starts = np.array([0, *accumulate(map(len, self._vectors))])
        self.size = int(self._starts[-1])
        """How many vectors there are, those lost included."""
        self.living = self.size
        """How many vectors there are still."""
        self._remaining = dict.fromkeys(range(len(self.requests)))
        # A bit for each vector that is still there, little-endian, as FAISS reads it.
        self._alive = np.full(-(-self.size // 8), 255, dtype=np.uint8)
        self._index: Any = self._build()

    def items(self) -> Iterator[tuple[str, NDArray[np.floating]]]:
        """The requests that are still there, with their vectors."""
        return ((self.requests[place], self._vectors[place]) for place in tuple(self._remaining))

    def lose(self, place: int) -> None:
        """Find the vectors of ``requests[place]`` no more."""
        del self._remaining[place]
        self.living -= len(self._vectors[place])
        self._clear(self._alive, place)

    @property
    def sparse(self) -> bool:
        """Whether most of the vectors are lost."""
        return 2 * self.living < self.size

    @property
    def effort(self) -> int:
        """About how many vectors are compared with each row."""
        return self.size

    @property
    def own_bytes(self) -> int:
        """Memory taken besides the vectors that were given: codes, numbers, and a bit for each."""
        return self._code_bytes + self._starts.nbytes + self._alive.nbytes

    @property
    def _code_bytes(self) -> int:
        return self.size * int(self._index.code_size)

    def search(self, rows: NDArray[np.float32], requests: int) -> list[dict[str, float]]:
        """For each row [n, dimension] the ``requests`` nearest requests at least, each with its nearest item's cosine.

        Once found, a request is left out of the next look, so that one with many items hides no other.
        """
        faiss.omp_set_num_threads(1)
        wanted = min(requests, len(self._remaining))
        many = min(max(ITEMS, _ITEMS_EACH * requests), self.size)
        found: list[dict[int, float]] = [{} for _ in rows]
        for row, hits in enumerate(self._look(rows, many, self._alive, self._first_lists)):
            self._collect(found[row], *hits)
        for row, best in enumerate(found):
            lists = self._first_lists
            while len(best) < wanted:
                allowed = self._alive.copy()
                for place in best:
                    self._clear(allowed, place)
                similarities, numbers = self._look(rows[row : row + 1], many, allowed, lists)[0]
                self._collect(best, similarities, numbers)
                if len(numbers) < many:
                    if lists >= self._lists:
                        break
                    lists *= _WIDEN
        nearest = [dict(islice(best.items(), _RANKED_EXACTLY * requests)) for best in found]
        return [
            {self.requests[place]: similarity for place, similarity in self._exactly(row, best).items()}
            for row, best in zip(rows, nearest, strict=True)
        ]

    @property
    def _lists(self) -> int:
        return 1

    @property
    def _first_lists(self) -> int:
        return min(self._lists, -(-self._lists * _COMPARED // self.size))

    def _build(self) -> Any:
        index = faiss.IndexFlatIP(self._vectors[0].shape[1])
        index.add(np.concatenate(self._vectors, dtype=np.float32))
        return index

    def _look(
        self, rows: NDArray[np.float32], many: int, allowed: NDArray[np.uint8], lists: int
    ) -> list[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        """For each row the cosines and the numbers of the nearest ``many`` vectors that are allowed, nearest first."""
        similarities, numbers = self._index.search(rows, many, params=self._parameters(allowed, lists))
        return [(near[each >= 0], each[each >= 0]) for near, each in zip(similarities, numbers, strict=True)]

    def _exactly(self, row: NDArray[np.float32], best: dict[int, float]) -> dict[int, float]:
        """The places found for a row, nearest first, with the cosine of each one's nearest item among all its own."""
        return best

    def _parameters(self, allowed: NDArray[np.uint8], lists: int) -> Any:
        if allowed is self._alive and self.living == self.size:
            return None
        return faiss.SearchParameters(sel=faiss.IDSelectorBitmap(allowed))

    def _collect(self, best: dict[int, float], similarities: NDArray[np.float32], numbers: NDArray[np.int64]) -> None:
        places = np.searchsorted(self._starts, numbers, side="right") - 1
        for place, similarity in zip(places.tolist(), similarities.tolist(), strict=True):
            best.setdefault(place, similarity)

    def _clear(self, bitmap: NDArray[np.uint8], place: int) -> None:
        first, end = int(self._starts[place]), int(self._starts[place + 1])
        touched = slice(first // 8, -(-end // 8))
        bits = np.unpackbits(bitmap[touched], bitorder="little")
        bits[first % 8 : first % 8 + end - first] = 0
        bitmap[touched] = np.packbits(bits, bitorder="little")


class InvertedLevel(Level):
    """Searched by inverted lists of four-bit codes; the nearest of those are ranked by the vectors themselves.

    The codes take 192 bytes a vector of 384 dimensions; the vectors are only referred to. From 20,000 vectors on it is
    faster than an exact search, and of the ten nearest it finds 99 % (``benchmarks/detector.py``).

    The cosine told of a request is that of its nearest item, if the requests found have no more than 4,096 items. Of
    more, those nearest come first; a request that has more items than are left of these is told by those looked at.
    """

    @property
    def effort(self) -> int:
        return self.size * self._first_lists // self._lists

    @property
    def _lists(self) -> int:
        return int(self._index.nlist)

    @property
    def _code_bytes(self) -> int:
        numbers = 8 * self.size
        return super()._code_bytes + numbers + int(self._index.quantizer.ntotal) * 4 * int(self._index.d)

    def _build(self) -> Any:
        # For this thread only. What builds does so beside an engine and an encoder.
        faiss.omp_set_num_threads(1)
        dimension = self._vectors[0].shape[1]
        lists = 2 ** round(math.log2(2.0 * math.sqrt(self.size)))
        index = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(dimension), dimension, lists, faiss.ScalarQuantizer.QT_4bit, faiss.METRIC_INNER_PRODUCT
        )
        clustering = index.cp
        clustering.niter, clustering.spherical = _ROUNDS, True
        clustering.min_points_per_centroid, clustering.max_points_per_centroid = 1, _TRAINED_ON
        chosen = np.random.default_rng(0).permutation(self.size)[: _TRAINED_ON * lists]
        index.train(self._rows(np.sort(chosen)))
        for part in _parts(self._vectors):
            index.add(np.concatenate(part, dtype=np.float32))
        return index

    def _look(
        self, rows: NDArray[np.float32], many: int, allowed: NDArray[np.uint8], lists: int
    ) -> list[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        exact = []
        for row, (_, numbers) in zip(rows, super()._look(rows, many, allowed, lists), strict=True):
            similarities = self._rows(numbers) @ row
            order = np.argsort(-similarities)
            exact.append((similarities[order], numbers[order]))
        return exact

    def _exactly(self, row: NDArray[np.float32], best: dict[int, float]) -> dict[int, float]:
        places, left = [], _COMPARED_EXACTLY
        for place in best:
            if len(self._vectors[place]) <= left:
                places.append(place)
                left -= len(self._vectors[place])
        if not places:
            return best
        similarities = np.concatenate([self._vectors[place] for place in places]).astype(np.float32) @ row
        firsts = [0, *accumulate(len(self._vectors[place]) for place in places[:-1])]
        return best | dict(zip(places, np.maximum.reduceat(similarities, firsts).tolist(), strict=True))

    def _parameters(self, allowed: NDArray[np.uint8], lists: int) -> Any:
        if allowed is self._alive and self.living == self.size:
            return faiss.SearchParametersIVF(nprobe=lists)
        return faiss.SearchParametersIVF(nprobe=lists, sel=faiss.IDSelectorBitmap(allowed))

    def _rows(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        places = np.searchsorted(self._starts, numbers, side="right") - 1
        within = numbers - self._starts[places]
        rows = np.empty((len(numbers), self._vectors[0].shape[1]), dtype=np.float32)
        for row, place, offset in zip(rows, places.tolist(), within.tolist(), strict=True):
            row[:] = self._vectors[place][offset]
        return rows


def _parts(vectors: Sequence[NDArray[np.floating]], rows: int = 50_000) -> Iterator[Sequence[NDArray[np.floating]]]:
    """Arrays in order, in groups of about so many rows."""
    part: list[NDArray[np.floating]] = []
    for each in vectors:
        part.append(each)
        if sum(map(len, part)) >= rows:
            yield part
            part = []
    if part:
        yield part
