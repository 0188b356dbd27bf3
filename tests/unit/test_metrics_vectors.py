"""What every metric refuses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from offline.metrics.choice import best_option
from offline.metrics.membership import loss_score, membership_auc, min_k_score
from offline.metrics.tofu import forget_quality, probability, truth
from offline.metrics.vectors import log_probabilities, vector

if TYPE_CHECKING:
    from collections.abc import Callable

METRICS: list[Callable[[Any], object]] = [
    vector,
    log_probabilities,
    probability,
    truth,
    lambda row: forget_quality([0.5], row),
    loss_score,
    min_k_score,
    lambda row: membership_auc([0.5], row),
    lambda row: best_option([row, [-1.0]]),
]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("row", [[], [math.nan], [-1.0, -math.inf], [[-1.0], [-2.0]], -1.0])
def test_what_is_empty_infinite_or_of_another_shape_is_refused(metric: Callable[[Any], object], row: Any) -> None:
    with pytest.raises(ValueError):
        metric(row)


def test_losses_are_not_taken_for_log_probabilities() -> None:
    with pytest.raises(ValueError, match="not above 0"):
        log_probabilities([0.7])
    assert log_probabilities([1e-8, -1.0]).tolist() == [1e-8, -1.0]  # rounding of what is certain


def test_sequences_and_arrays_are_alike() -> None:
    assert vector((1, 2)).dtype == vector(np.array([1, 2], np.float32)).dtype == np.float64
