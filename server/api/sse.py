"""Server-sent events, as vLLM writes them. Their lines may end with LF, CRLF or CR."""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

_NAME: Final = re.compile(rb"event: ([^\r\n]*)")
_DATA: Final = re.compile(r"[\r\n]data: ")
_END: Final = rb"(?:\r\n|\n|\r)"
_NAMED: Final = rb"event: [^\r\n]+" + _END
_BARE: Final = rb"data: [^\r\n]*" + _END + rb"*"
_NOTHING: Final = rb"(?::[^\r\n]*+|" + _END + rb")*+"
_FORMS: Final = {
    False: re.compile(_BARE + rb"|" + _NOTHING),
    True: re.compile(_NAMED + _BARE + rb"|data: \[DONE\]" + _END + rb"*|" + _NOTHING),
}


def require_read(raw: bytes, *, named: bool) -> None:
    """Raises ValueError on an event in a form that the standard knows and vLLM does not write: it would not be read.

    ``named``: whether those of its stream have names.
    """
    if _FORMS[named].fullmatch(raw) is None:
        raise ValueError("an event in an unknown form")


def is_done(raw: bytes) -> bool:
    """Whether an event says that there are no more."""
    return raw.rstrip() == b"data: [DONE]"


def name_of(raw: bytes) -> str:
    """The name of an event; empty if it has none."""
    found = _NAME.match(raw)
    return found[1].decode() if found else ""


def data_of(raw: bytes) -> dict[str, Any]:
    """The JSON object that an event carries. Raises ValueError if it carries none."""
    data = orjson.loads(raw.partition(b"data: ")[2])
    if not isinstance(data, dict):
        raise ValueError("an event without an object")
    return data


def start_of(text: str) -> int:
    """Where the data of an event begins. Raises ValueError if it has none."""
    found = _DATA.search(text)
    if found is None:
        raise ValueError("an event without data")
    return found.end()


def written(name: str, data: str) -> bytes:
    """An event."""
    return f"event: {name}\ndata: {data}\n\n".encode()
