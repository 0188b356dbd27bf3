"""What was found out, for as long as it holds and there is room for it."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

_Found = TypeVar("_Found")


class Recollection(Generic[_Found]):
    """Remembers things by a key, of at most so much ``size`` together; the least used is forgotten first."""

    def __init__(self, size: int) -> None:
        self._most = size
        self._size = 0
        self._found: OrderedDict[Hashable, tuple[_Found, int]] = OrderedDict()

    def get(self, key: Hashable) -> _Found | None:
        """What is remembered, or None."""
        entry = self._found.get(key)
        if entry is None:
            return None
        self._found.move_to_end(key)
        return entry[0]

    def put(self, key: Hashable, found: _Found, size: int = 1) -> None:
        """Remember ``found``, unless something is remembered already."""
        if key in self._found:
            return
        self._found[key] = found, size
        self._size += size
        while self._size > self._most:
            _, (_, of_oldest) = self._found.popitem(last=False)
            self._size -= of_oldest

    def clear(self) -> None:
        """Forget everything: it holds no more."""
        self._found.clear()
        self._size = 0
