"""Intervals, operating points and quantiles: against published values and against what they mean."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.evaluation.intervals import Difference, Share, quantiles
from offline.evaluation.roc import Scores


def test_a_wilson_interval_as_published() -> None:
    """Newcombe (Statistics in Medicine 17, 1998, 857), table I, method 3."""
    for count, of, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        assert Share(count, of).interval == pytest.approx((low, high), abs=1e-4)


def test_a_share_of_nothing_says_nothing() -> None:
    assert Share(0, 0).interval == (0.0, 1.0)
    assert Share(0, 0).share == 0.0
    assert Difference(0, 0, 0, 0).interval == (-1.0, 1.0)
    assert quantiles([]) == {"of": 0}


def test_a_paired_difference_as_published() -> None:
    """Newcombe (Statistics in Medicine 17, 1998, 2635), table II (a): 36, 12, 2 and 0 of 50, method 10."""
    found = Difference(both=36, first=2, second=12, neither=0)
    assert found.difference == pytest.approx(0.2)
    assert found.interval == pytest.approx((0.0569, 0.3404), abs=1e-4)


@given(*[st.integers(0, 400)] * 4)
def test_a_paired_interval_holds_its_difference(both: int, first: int, second: int, neither: int) -> None:
    found = Difference(both, first, second, neither)
    low, high = found.interval
    assert -1.0 - 1e-9 <= low <= found.difference + 1e-12
    assert found.difference - 1e-12 <= high <= 1.0 + 1e-9


def test_pairs_are_counted() -> None:
    before, after = np.array([True, True, False, False, True]), np.array([True, False, True, False, True])
    assert Difference.between(before, after) == Difference(both=2, first=1, second=1, neither=1)
    with pytest.raises(ValueError, match="one length"):
        Difference.between(before, after[:3])


scores = st.lists(st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=200)


@given(scores, st.floats(0, 1))
def test_a_threshold_keeps_its_rate_and_no_lower_one_does(negatives: list[float], rate: float) -> None:
    values = np.array(negatives)
    threshold = Scores(np.array([1.0]), values).threshold(rate)
    assert (values > threshold).sum() <= rate * len(values) + 1e-6
    if math.isfinite(threshold):
        assert (values >= threshold).sum() > math.floor(rate * len(values) + 1e-9)


@given(scores, scores)
def test_curves_agree_with_counting(positives: list[float], negatives: list[float]) -> None:
    one = Scores(np.array(positives), np.array(negatives))
    better = np.mean([(a > b) + 0.5 * (a == b) for a in positives for b in negatives])
    assert one.auc() == pytest.approx(better)
    false, true = one.roc()
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert (np.diff(false) >= 0).all()
    assert (np.diff(true) >= 0).all()
    false, missed = one.det()
    assert (np.diff(false) <= 0).all()
    assert (np.diff(missed) >= 0).all()


def test_quantiles_come_with_what_so_many_values_can_say() -> None:
    found = quantiles(np.arange(1, 101))
    assert found["of"] == 100
    assert found["p50"]["value"] == pytest.approx(50.5)
    assert found["p50"]["low"] < 50.5 < found["p50"]["high"]
    assert found["p99"]["high"] is None  # a hundred values do not bound their 99th percentile
