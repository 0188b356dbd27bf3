"""Thresholds keep their promise, and say so when they cannot."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.detect.thresholds import allowed_above, neyman_pearson_threshold


def _at_most(r: int, n: int, alpha: float) -> float:
    return sum(math.comb(n, j) * alpha**j * (1 - alpha) ** (n - j) for j in range(r + 1))


@given(st.integers(1, 400), st.sampled_from([0.3, 0.1, 0.03, 0.01]), st.sampled_from([0.8, 0.95]))
def test_the_order_statistic_is_the_largest_that_holds(n: int, alpha: float, confidence: float) -> None:
    above = allowed_above(n, alpha=alpha, confidence=confidence)
    assert above == -1 or _at_most(above, n, alpha) <= 1 - confidence + 1e-9
    assert above == n - 1 or _at_most(above + 1, n, alpha) > 1 - confidence - 1e-9


def test_a_thousandth_at_95_percent_needs_2995_prompts() -> None:
    assert allowed_above(2_994, alpha=0.001, confidence=0.95) == -1
    assert allowed_above(2_995, alpha=0.001, confidence=0.95) == 0


def test_background_above_the_threshold_is_as_counted() -> None:
    scores = np.random.default_rng(0).random(5_000)
    threshold = neyman_pearson_threshold(scores, alpha=0.01, confidence=0.95)
    above = allowed_above(5_000, alpha=0.01, confidence=0.95)
    assert (scores >= threshold.probability).sum() == above > 0
    assert (threshold.alpha, threshold.confidence, threshold.background) == (0.01, 0.95, 5_000)


def test_too_little_background_gives_the_strictest_threshold_and_its_true_rate() -> None:
    scores = np.linspace(0.1, 0.9, 100)
    threshold = neyman_pearson_threshold(scores, alpha=0.001, confidence=0.95)
    assert threshold.probability > 0.9
    assert threshold.alpha == pytest.approx(1 - 0.05 ** (1 / 100))
    assert (1 - threshold.alpha) ** 100 == pytest.approx(0.05)


def test_the_promise_holds_over_many_draws() -> None:
    rng = np.random.default_rng(1)
    broken = 0
    for _ in range(400):
        threshold = neyman_pearson_threshold(rng.random(300), alpha=0.05, confidence=0.9)
        broken += (1 - threshold.probability) > 0.05
    assert broken / 400 <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / 400)


def test_no_background_is_an_error() -> None:
    with pytest.raises(ValueError, match="background"):
        neyman_pearson_threshold(np.empty(0), alpha=0.1, confidence=0.9)
