"""Exact memorisation and extraction strength, against counting and against their definition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.metrics.memorisation import exact_memorisation, extraction_strength

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("predicted", "exact", "strength"),
    [
        ([1, 2, 3, 4], 1.0, 1.0),
        ([9, 2, 3, 4], 0.75, 0.75),
        ([1, 9, 3, 4], 0.75, 0.5),
        ([1, 2, 3, 9], 0.75, 0.0),
        ([9, 9, 9, 9], 0.0, 0.0),
    ],
)
def test_what_is_predicted_and_from_where_on(predicted: list[int], exact: float, strength: float) -> None:
    assert exact_memorisation(predicted, [1, 2, 3, 4]) == exact
    assert extraction_strength(predicted, [1, 2, 3, 4]) == strength


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=12))
def test_strength_is_what_its_definition_says(tokens: list[tuple[int, int]]) -> None:
    predicted, labels = [one for one, _ in tokens], [other for _, other in tokens]
    shortest = next(given for given in range(len(labels) + 1) if predicted[given:] == labels[given:])
    found = extraction_strength(predicted, labels)
    assert found == pytest.approx(1 - shortest / len(labels))
    assert found <= exact_memorisation(predicted, labels) + 1e-12


@pytest.mark.parametrize("metric", [exact_memorisation, extraction_strength])
@pytest.mark.parametrize(
    ("predicted", "labels"), [([], []), ([1], [1, 2]), ([[1]], [[1]]), ([1.0], [1.0]), ([float("nan")], [1])]
)
def test_what_is_no_row_of_tokens_is_refused(
    metric: Callable[..., float], predicted: list[int], labels: list[int]
) -> None:
    with pytest.raises(ValueError):
        metric(predicted, labels)
