"""Many strings, found in a text in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import ahocorasick

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Value = TypeVar("Value")


class Strings(Generic[Value]):
    """Strings with a value each. Immutable."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._before = max(map(len, values), default=1) - 1
        self._automaton = None
        if values:
            self._automaton = ahocorasick.Automaton()
            for string, value in values.items():
                self._automaton.add_word(string, value)
            self._automaton.make_automaton()

    def ending(self, text: str, start: int, end: int) -> Iterator[tuple[int, Value]]:
        """The strings whose last character is in ``text[start:end]``: the place after it, and the value.

        The characters before are read again each time. pyahocorasick can go on where it was instead, with ``set`` of
        its iterator; but that corrupts memory on characters beyond U+FFFF (its issue 221).
        """
        if self._automaton is None:
            return
        first = max(start - self._before, 0)
        for last, value in self._automaton.iter(text[first:end]):
            after = first + last + 1
            if after > start:
                yield after, value
