"""Scores for membership inference against values worked out by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.metrics.membership import (
    loss_score,
    membership_auc,
    min_k_plus_plus_score,
    min_k_score,
    privacy_leak,
    zlib_score,
)

FIVE = [-3.0, -1.0, -5.0, -2.0, -4.0]
scores = st.lists(st.integers(-3, 3), min_size=1, max_size=30)


def test_the_loss_is_a_mean() -> None:
    assert loss_score(FIVE) == pytest.approx(-3.0)


def test_zlib_counts_bytes() -> None:
    # By RFC 1950 and 1951: two bytes of header, three letters and the block's frame in five, four of checksum.
    assert zlib_score([-1.0, -3.0], "abc") == pytest.approx(-2.0 / 11)
    assert zlib_score([-1.0, -3.0], "") == pytest.approx(-2.0 / 8)
    assert zlib_score([-1.0, -3.0], "é") == pytest.approx(-2.0 / 10)  # two bytes in UTF-8


def test_min_k_is_the_mean_of_the_lowest() -> None:
    assert min_k_score(FIVE) == pytest.approx(-4.5)
    assert min_k_score(FIVE, 59.0) == pytest.approx(-4.5)
    assert min_k_score(FIVE, 60.0) == pytest.approx(-4.0)
    assert min_k_score(FIVE, 1.0) == pytest.approx(-5.0)
    assert min_k_score(FIVE, 100.0) == pytest.approx(-3.0)


@pytest.mark.parametrize("k", [0.0, -1.0, 101.0, math.nan])
def test_k_is_a_share(k: float) -> None:
    with pytest.raises(ValueError, match="per cent"):
        min_k_score(FIVE, k)


def test_min_k_plus_plus_standardises_first() -> None:
    # (-1 + 2) / 0.5 = 2, (-4 + 2) / 2 = -1 and (-5 + 5) / 1 = 0: what is lowest is not the least probable.
    tokens, means, deviations = [-1.0, -4.0, -5.0], [-2.0, -2.0, -5.0], [0.5, 2.0, 1.0]
    assert min_k_plus_plus_score(tokens, means, deviations) == pytest.approx(-1.0)
    assert min_k_plus_plus_score(tokens, means, deviations, 67.0) == pytest.approx(-0.5)


def test_of_a_vocabulary_of_three() -> None:
    # Probabilities 1/2, 1/4 and 1/4: mean -1.5 ln 2, variance (0.5 + 2 - 2.25) (ln 2)^2; the token is the first.
    assert min_k_plus_plus_score([-math.log(2)], [-1.5 * math.log(2)], [0.5 * math.log(2)]) == pytest.approx(1.0)


def test_a_certain_token_does_not_divide_by_zero() -> None:
    assert min_k_plus_plus_score([0.0], [0.0], [0.0]) == 0.0
    with pytest.raises(ValueError, match="deviation"):
        min_k_plus_plus_score([-1.0], [-1.0], [-0.5])
    with pytest.raises(ValueError, match="mean"):
        min_k_plus_plus_score([-1.0, -2.0], [-1.0], [0.5])


def test_an_area_is_the_share_of_pairs_in_order() -> None:
    assert membership_auc([-1.0, -3.0], [-2.0, -4.0]) == pytest.approx(3 / 4)
    assert membership_auc([-1.0], [-1.0, -2.0]) == pytest.approx(3 / 4)


@given(scores, scores)
def test_an_area_agrees_with_counting(members: list[int], others: list[int]) -> None:
    won = sum((one > other) + 0.5 * (one == other) for one in members for other in others)
    assert membership_auc(members, others) == pytest.approx(won / len(members) / len(others))


def test_a_leak_is_relative_to_the_retrained_model() -> None:
    assert privacy_leak(0.6, 0.5) == pytest.approx(20.0)
    assert privacy_leak(0.4, 0.5) == pytest.approx(-20.0)
    assert privacy_leak(0.47, 0.47) == 0.0


def test_a_leak_is_below_zero_with_the_areas_of_muses_tables() -> None:
    # The hold-out texts over the forgotten ones; 0.4772 is MUSE's constant for its retrained model of News.
    assert privacy_leak(1 - 0.5228, 1 - 0.5228) == 0.0
    assert privacy_leak(1 - 1.0, 0.4772) == -100.0
    assert privacy_leak(1 - 0.7614, 0.4772) == pytest.approx(-50.0)


@pytest.mark.parametrize(("auc", "retrained"), [(0.5, 0.0), (1.1, 0.5), (math.nan, 0.5), (0.5, math.nan)])
def test_what_is_no_area_is_refused(auc: float, retrained: float) -> None:
    with pytest.raises(ValueError, match="areas"):
        privacy_leak(auc, retrained)
