"""Quotations from texts that are kept as hashes only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from guards.phrases.shingles import RUN, hashes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from guards.phrases.form import Word


class Shingles:
    """The shingles of all owners. Immutable."""

    def __init__(self, owned: Mapping[str, NDArray[np.uint64]]) -> None:
        self._owners = tuple(owned)
        values = np.concatenate([np.empty(0, np.uint64), *owned.values()])
        owners = np.repeat(np.arange(len(owned), dtype=np.int32), [len(each) for each in owned.values()])
        order = np.argsort(values, kind="stable")
        self._values, self._owner = values[order], owners[order]

    def __len__(self) -> int:
        return len(self._values)

    def owners(self, words: Sequence[Word]) -> list[str]:
        """Whose text has the last ``RUN`` of ``words`` in a row."""
        if len(words) < RUN:
            return []
        run = hashes([word.letters for word in words][-RUN:])[0]
        first, last = self._values.searchsorted(run, "left"), self._values.searchsorted(run, "right")
        return [self._owners[owner] for owner in self._owner[first:last]]

    def runs(self, words: Sequence[Word]) -> Iterator[tuple[int, str]]:
        """Where ``RUN`` of a text's words stand in a row in somebody's text: the first one's place, and whose."""
        runs = hashes([word.letters for word in words])
        firsts, lasts = self._values.searchsorted(runs, "left"), self._values.searchsorted(runs, "right")
        for place in np.flatnonzero(firsts < lasts).tolist():
            yield from ((place, self._owners[owner]) for owner in self._owner[firsts[place] : lasts[place]])
