"""Letters as programs write them: in strings (JSON's among them), in addresses, in HTML."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_ESCAPED: Final = re.compile(
    r"(?P<units>(?:(?:\\|%)u[0-9A-Fa-f]{4})+)"
    r"|\\(?:u\{0*(?P<point>[0-9A-Fa-f]{1,5})\}|U000(?P<long>[0-9A-Fa-f]{5})|x(?P<byte>[0-9A-Fa-f]{2}))"
    r"|\\(?P<octal>[0-3][0-7]{2})|\\(?P<short>[nrtbf\"'/\\])|(?P<percent>(?:%[0-9A-Fa-f]{2})+)"
    r"|(?P<entity>&(?:\#0*[0-9]{1,6};?|\#[xX]0*[0-9A-Fa-f]{1,5};?|[A-Za-z][A-Za-z0-9]{1,30};))"
)
_SHORT: Final = {"n": "\n", "r": "\n", "t": "\t", "b": " ", "f": " "}


def escapes(text: str) -> Iterator[tuple[int, int, str]]:
    """Characters ``start``..``end`` that are escapes, and what they stand for."""
    if "\\" in text or "%" in text or "&" in text:
        for run in _ESCAPED.finditer(text):
            if (plain := _unescaped(run)) != run.group():
                yield *run.span(), plain


def _unescaped(run: re.Match[str]) -> str:
    written = run.group(run.lastgroup or 0)
    match run.lastgroup:
        case "units":
            return bytes.fromhex(re.sub(r"[\\%]u", "", written)).decode("utf-16-be", "replace")
        case "point" | "long" | "byte":
            return chr(int(written, 16)).encode("utf-8", "replace").decode("utf-8")
        case "octal":
            return chr(int(written, 8))
        case "percent":
            return bytes.fromhex(written.replace("%", "")).decode("utf-8", "replace")
        case "entity":
            return html.unescape(written).encode("utf-8", "replace").decode("utf-8")
        case _:
            return _SHORT.get(written, written)
