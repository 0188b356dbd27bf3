"""A request's body as JSON: parsed once, addressed by path, written anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from server.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

Path: TypeAlias = tuple[str | int, ...]
Body: TypeAlias = dict[str, Any]


def parse(raw: bytes, *, max_nesting: int) -> Body:
    """The JSON object in ``raw``.

    What is sent upstream is always this object written anew, never ``raw``: two parsers may read the
    same bytes differently (duplicate keys, odd numbers), and the upstream must see what was inspected.

    Raises:
        BadRequest: not JSON, not an object, or nested deeper than ``max_nesting``.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise BadRequest("The request body is not valid JSON.") from None
    if not isinstance(value, dict):
        raise BadRequest("The request body must be a JSON object.")
    # Few brackets cannot nest deeply; most bodies are cleared by this count alone.
    if raw.count(b"{") + raw.count(b"[") > max_nesting and _deeper_than(value, max_nesting):
        raise BadRequest(f"The request body is nested deeper than {max_nesting} levels.")
    return value


def write(body: Body) -> bytes:
    """The body as JSON."""
    return orjson.dumps(body)


def _deeper_than(value: object, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        below: list[object] = []
        for container in level:
            items = container.values() if isinstance(container, dict) else container
            below += [item for item in items if isinstance(item, dict | list)]  # type: ignore[attr-defined]
        if not below:
            return False
        level = below
    return True


def replace(body: Body, texts: Mapping[Path, object]) -> Body:
    """A copy of ``body`` with the value at each path replaced. Shares what is not on a path."""
    copy = dict(body)
    for path, text in texts.items():
        target: Any = copy
        for step in path[:-1]:
            child = target[step]
            target[step] = dict(child) if isinstance(child, dict) else list(child)
            target = target[step]
        target[path[-1]] = text
    return copy
