"""``GET /v1/models`` and ``GET /v1/models/{id}``: the public models, adapters left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from server.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


ADAPTER_PREFIX: Final = "art_"
"""Of the names of adapters: they are ids of artefacts."""


def public_cards(cards: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """vLLM's model cards by name, of base models only: an adapter's card names its parent."""
    return {
        card["id"]: dict(card)
        for card in cards
        if isinstance(card, dict) and isinstance(card.get("id"), str) and card.get("parent") is None
    }


def own_adapters(cards: Iterable[Mapping[str, Any]]) -> set[str]:
    """Names of the adapters that were loaded for scopes, of vLLM's model cards."""
    return {
        card["id"]
        for card in cards
        if isinstance(card, dict) and card.get("parent") and str(card.get("id")).startswith(ADAPTER_PREFIX)
    }


def listing(cards: Mapping[str, Mapping[str, Any]]) -> bytes:
    """The body of ``GET /v1/models``."""
    return orjson.dumps({"object": "list", "data": list(cards.values())})


def one(cards: Mapping[str, Mapping[str, Any]], name: str) -> bytes:
    """The body of ``GET /v1/models/{name}``. Raises NotFound."""
    if name not in cards:
        raise no_such_model(name)
    return orjson.dumps(cards[name])


def no_such_model(name: str) -> NotFound:
    """The error for a model that is not public, whether it exists or not."""
    shown = name if len(name) <= 200 else name[:200] + "…"
    return NotFound(f"The model `{shown}` does not exist.", param="model", code="model_not_found")
