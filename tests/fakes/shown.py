"""What a client sees of an answer: every string in it, and every text that its pieces make."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.fakes.clients import answers, streamed
from tests.fakes.hits import is_hit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from guards.phrases.phrase import Phrase

# What a response repeats of its request.
_ECHOED = ("instructions", "metadata", "text", "tool_choice", "tools", "user")


def shown(path: str, raw: bytes) -> list[str]:
    """The texts of an answer, whole or streamed: texts, tokens and their bytes, arguments, names, reasons."""
    found: dict[str, None] = {}
    pieces: dict[tuple[object, ...], list[str]] = {}
    for answer in answers(path, raw):
        for place, text in _strings(answer, (answer.get("type"),)):
            found[text] = None
            pieces.setdefault(place, []).append(text)
    if streamed(raw):
        found |= dict.fromkeys("".join(texts) for texts in pieces.values())
    for text in list(found):
        found |= dict.fromkeys(inner for _, inner in _strings(_parsed(text), ()))
    return [text for text in found if text]


def hits(path: str, raw: bytes, phrases: Iterable[Phrase]) -> list[tuple[str, str]]:
    """Phrases that an answer lets out, each with the text that does."""
    texts = shown(path, raw)
    return [(one.text, text) for one in phrases for text in texts if is_hit(text, [one], finished=True)]


def _strings(value: object, place: tuple[object, ...]) -> Iterator[tuple[tuple[object, ...], str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        # Pieces of one text stand at the same place, in a choice that is told by its index.
        here = (*place, value.get("index", value.get("output_index")))
        for name, inner in value.items():
            if name in _ECHOED and value.get("object") == "response":
                continue
            if name == "bytes" and isinstance(inner, list):
                yield (*here, name), bytes(inner).decode("utf-8", "replace")
            else:
                yield (*here, "key"), name
                yield from _strings(inner, (*here, name))
    elif isinstance(value, list):
        yield from (one for item in value for one in _strings(item, place))


def _parsed(text: str) -> Any:
    """What a text holds, if it is JSON: a client reads it so."""
    try:
        return json.loads(text) if text[:1] in ("{", "[", '"') else None
    except ValueError:
        return None
