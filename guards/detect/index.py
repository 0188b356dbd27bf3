"""Which scopes' forget items lie near a vector: FAISS, inner product."""

from __future__ import annotations

from typing import TYPE_CHECKING

import faiss
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class VectorIndex:
    """Vectors of many requests, searched exactly. Adds and removes take effect at once. Not thread-safe."""

    def __init__(self, dimension: int) -> None:
        self._index = faiss.IndexIDMap2(faiss.IndexFlatIP(dimension))
        self._dimension = dimension
        self._next = 0
        self._ranges: dict[str, tuple[int, int]] = {}
        self._owners: dict[int, str] = {}

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, request_id: str, vectors: NDArray[np.float32]) -> None:
        """Make ``vectors`` [n, dimension], unit rows, those of ``request_id``, in place of what it had."""
        self.remove(request_id)
        first, self._next = self._next, self._next + len(vectors)
        self._index.add_with_ids(np.ascontiguousarray(vectors), np.arange(first, self._next, dtype=np.int64))
        self._ranges[request_id] = (first, self._next)
        self._owners.update(dict.fromkeys(range(first, self._next), request_id))

    def remove(self, request_id: str) -> None:
        """Forget the vectors of ``request_id``; unknown ids are ignored."""
        first, end = self._ranges.pop(request_id, (0, 0))
        if end > first:
            self._index.remove_ids(faiss.IDSelectorRange(first, end))
            for number in range(first, end):
                del self._owners[number]

    def search(self, vectors: NDArray[np.float32], requests: int) -> list[dict[str, float]]:
        """For each row the ``requests`` nearest requests at least, with the cosine of each one's nearest item.

        As many items are looked up as that takes: a request with many items must not hide another.
        """
        if not len(self) or not len(vectors):
            return [{} for _ in vectors]
        rows, wanted, k = np.ascontiguousarray(vectors), min(requests, len(self._ranges)), requests
        while True:
            k = min(k, len(self))
            similarities, numbers = self._index.search(rows, k)
            found = [self._nearest(*row) for row in zip(similarities.tolist(), numbers.tolist(), strict=True)]
            if k == len(self) or all(len(best) >= wanted for best in found):
                return found
            k *= 4

    def _nearest(self, similarities: list[float], numbers: list[int]) -> dict[str, float]:
        best: dict[str, float] = {}
        for similarity, number in zip(similarities, numbers, strict=True):
            best.setdefault(self._owners[number], similarity)
        return best
