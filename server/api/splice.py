"""Editing JSON in place: values are exchanged in the text itself.

vLLM writes answers with two serialisers that print floats and escapes each in its own way. Written
anew, an answer would show that it was touched.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_SPACES: Final = frozenset(" \t\n\r")
_DECODER: Final = json.JSONDecoder()


class Value(NamedTuple):
    """A value of a JSON text, and where in the text it stands."""

    value: Any
    start: int
    end: int


def members(text: str, at: int = 0) -> dict[str, Value]:
    """The members of the JSON object that begins at ``at``, by name. Raises ValueError if none does."""
    found: dict[str, Value] = {}
    try:
        at = _open(text, at, "{")
        while text[at] != "}":
            name, at = _DECODER.raw_decode(text, at)
            start = space(text, space(text, at) + 1)  # past the colon
            found[name], at = _value(text, start)
    except IndexError:
        raise ValueError("the JSON object does not end") from None
    return found


def elements(text: str, at: int = 0) -> list[Value]:
    """The elements of the JSON array that begins at ``at``. Raises ValueError if none does."""
    found: list[Value] = []
    try:
        at = _open(text, at, "[")
        while text[at] != "]":
            element, at = _value(text, at)
            found.append(element)
    except IndexError:
        raise ValueError("the JSON array does not end") from None
    return found


def spliced(text: str, edits: Iterable[tuple[Value, str]]) -> str:
    """The text with the JSON at each value's place replaced. No place may lie within another."""
    for value, new in sorted(edits, key=lambda edit: edit[0].start, reverse=True):
        text = f"{text[: value.start]}{new}{text[value.end :]}"
    return text


def dumps(value: object) -> str:
    """JSON as vLLM's serialisers write strings and numbers: without blanks, and nothing escaped that need not be."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def within(text: str, entries: Iterable[Value], length: int) -> list[str]:
    """The JSON of the log-probability entries whose tokens the first ``length`` characters hold."""
    kept = []
    for entry in entries:
        length -= len(entry.value["token"])
        if length < 0:
            break
        kept.append(text[entry.start : entry.end])
    return kept


def space(text: str, at: int) -> int:
    """The first place from ``at`` on that is no white space."""
    while text[at : at + 1] in _SPACES:
        at += 1
    return at


def _open(text: str, at: int, bracket: str) -> int:
    at = space(text, at)
    if text[at] != bracket:
        raise ValueError("not a JSON object" if bracket == "{" else "not a JSON array")
    return space(text, at + 1)


def _value(text: str, start: int) -> tuple[Value, int]:
    """A value, and where the next one or the closing bracket stands."""
    value, end = _DECODER.raw_decode(text, start)
    at = space(text, end)
    if text[at] == ",":
        at = space(text, at + 1)
    return Value(value, start, end), at
