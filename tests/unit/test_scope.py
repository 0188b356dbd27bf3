"""What a request that names no policy gets, by what it asks for."""

from __future__ import annotations

from itertools import product

import pytest

from guards.scope import Extent, Kind, default_policy

DEFAULTS = [
    ("person", "knowledge", ["decline"], [], "supplied"),
    ("person", "text", ["decline"], [], "supplied"),
    ("record", "knowledge", ["decline"], [], "supplied"),
    ("record", "text", ["decline"], [], "supplied"),
    ("work", "knowledge", ["corrupt", "restrict"], ["restrict"], "supplied"),
    ("work", "text", ["restrict"], [], "supplied"),
    ("topic", "knowledge", ["decline"], ["restrict"], "suppress"),
    ("topic", "text", ["decline"], ["restrict"], "suppress"),
]


@pytest.mark.parametrize(("kind", "extent", "high", "low", "context"), DEFAULTS)
def test_the_default_policy_of_each_kind(kind: str, extent: str, high: list[str], low: list[str], context: str) -> None:
    policy = default_policy(Kind(kind), Extent(extent))
    assert [action.value for action in policy.high] == high
    assert [action.value for action in policy.low] == low
    assert policy.context.value == context


def test_no_kind_is_without_a_default() -> None:
    assert {row[:2] for row in DEFAULTS} == set(product(Kind, Extent))
