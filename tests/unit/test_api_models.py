from __future__ import annotations

import orjson
import pytest

from server.api.models import listing, one, public_cards
from server.errors import NotFound

CARDS = [
    {"id": "base", "object": "model", "parent": None},
    {"id": "adapter", "object": "model", "parent": "base"},
    {"object": "model"},
    "nonsense",
]


def test_adapters_are_hidden() -> None:
    assert list(public_cards(CARDS)) == ["base"]  # type: ignore[arg-type]


def test_the_listing_and_one_model() -> None:
    cards = public_cards(CARDS)  # type: ignore[arg-type]
    assert orjson.loads(listing(cards)) == {"object": "list", "data": [CARDS[0]]}
    assert orjson.loads(one(cards, "base")) == CARDS[0]


def test_an_adapter_is_as_unknown_as_any_other_name() -> None:
    for name in ("adapter", "x" * 10_000):
        with pytest.raises(NotFound) as error:
            one(public_cards(CARDS), name)  # type: ignore[arg-type]
        assert error.value.code == "model_not_found"
        assert len(error.value.message) < 300
