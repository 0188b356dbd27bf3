"""What was found out about passages, for as long as it holds."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from guards.detect.passages import Passage

_Found = TypeVar("_Found")


class Recollection(Generic[_Found]):
    """Remembers something for each passage, of at most so many ``windows`` together; the least used is forgotten first.

    A passage is known by identity: the encoder's queue gives the same one for the same text.
    """

    def __init__(self, windows: int) -> None:
        self._most = windows
        self._windows = 0
        self._found: OrderedDict[int, tuple[Passage, _Found]] = OrderedDict()

    def get(self, passage: Passage) -> _Found | None:
        """What is remembered, or None."""
        entry = self._found.get(id(passage))
        if entry is None:
            return None
        self._found.move_to_end(id(passage))
        return entry[1]

    def put(self, passage: Passage, found: _Found) -> None:
        """Remember ``found``, unless something is remembered already."""
        if id(passage) in self._found:
            return
        # With the passage itself, so that no other can take its identity.
        self._found[id(passage)] = passage, found
        self._windows += len(passage.windows) + 1
        while self._windows > self._most:
            _, (oldest, _) = self._found.popitem(last=False)
            self._windows -= len(oldest.windows) + 1

    def clear(self) -> None:
        """Forget everything: it holds no more."""
        self._found.clear()
        self._windows = 0
