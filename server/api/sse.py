"""Server-sent events with a name, as vLLM writes them."""

from __future__ import annotations

from typing import Any, Final

import orjson

_NAME: Final = b"event: "
_DATA: Final = "\ndata: "


def name_of(raw: bytes) -> str:
    """The name of an event; empty if it has none."""
    return raw[len(_NAME) :].partition(b"\n")[0].decode() if raw.startswith(_NAME) else ""


def data_of(raw: bytes) -> dict[str, Any]:
    """The JSON object that an event carries. Raises ValueError if it carries none."""
    data = orjson.loads(raw.partition(b"data: ")[2])
    if not isinstance(data, dict):
        raise ValueError("an event without an object")
    return data


def start_of(text: str) -> int:
    """Where the data of an event begins."""
    return text.index(_DATA) + len(_DATA)


def written(name: str, data: str) -> bytes:
    """An event, without its end."""
    return f"event: {name}{_DATA}{data}".encode()
