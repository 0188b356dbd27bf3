"""TOFU's metrics against what its equations give by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.metrics.tofu import (
    UTILITY_PARTS,
    ForgetQuality,
    forget_quality,
    model_utility,
    option_probability,
    probability,
    truth,
    truth_ratio,
)

answers = st.lists(st.floats(-20, 0), min_size=1, max_size=8)


def logs(*probabilities: float) -> list[float]:
    return [math.log(each) for each in probabilities]


def test_a_probability_is_the_geometric_mean_of_its_tokens() -> None:
    assert probability(logs(0.2, 0.8)) == pytest.approx(0.4)
    assert probability(logs(0.3)) == pytest.approx(0.3)


def test_a_probability_among_options_is_a_share() -> None:
    assert option_probability(logs(0.6), [logs(0.2), logs(0.1, 0.4), logs(0.2)]) == pytest.approx(0.6 / 1.2)
    with pytest.raises(ValueError, match="other options"):
        option_probability(logs(0.6), [])


def test_a_truth_ratio_takes_the_arithmetic_mean_of_the_wrong_answers() -> None:
    # (0.4 + 0.1) / 2 over 0.5; their geometric mean would give 0.4.
    assert truth_ratio(logs(0.5, 0.5), [logs(0.2, 0.8), logs(0.1)]) == pytest.approx(0.5)
    assert truth_ratio(logs(0.1), [logs(0.3)]) == pytest.approx(3.0)
    with pytest.raises(ValueError, match="perturbed"):
        truth_ratio(logs(0.5), [])


def test_a_long_answer_does_not_underflow() -> None:
    assert truth_ratio([-900.0] * 5_000, [[-901.0] * 5_000, [-901.0] * 4_000]) == pytest.approx(math.exp(-1.0))
    assert option_probability([-900.0] * 9, [[-900.0] * 3]) == pytest.approx(0.5)


@given(answers, st.lists(answers, min_size=1, max_size=5))
def test_a_truth_ratio_lies_between_those_of_its_wrong_answers(right: list[float], wrong: list[list[float]]) -> None:
    ratios = [probability(each) / probability(right) for each in wrong]
    found = truth_ratio(right, wrong)
    assert min(ratios) * (1 - 1e-9) <= found <= max(ratios) * (1 + 1e-9)


def test_truth_counts_no_ratio_above_one() -> None:
    assert truth([0.25, 3.0, 0.5]) == pytest.approx((0.75 + 0.0 + 0.5) / 3)


def test_forget_quality_of_ratios_that_are_apart() -> None:
    # Of the 20 ways to draw three of six, two are as far apart as this.
    found = forget_quality([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    assert found == ForgetQuality(1.0, pytest.approx(0.1), 3, 3)


def test_forget_quality_of_ratios_that_are_alike() -> None:
    # From 0.1 on the distribution functions are 1/2 and 0; then 1/2 and 2/3, and 1 and 2/3.
    found = forget_quality([0.1, 0.5], [0.2, 0.3, 0.6])
    assert (found.distance, found.tested, found.retain) == (pytest.approx(0.5), 2, 3)
    assert forget_quality([0.1, 0.5], [0.1, 0.5]) == ForgetQuality(0.0, 1.0, 2, 2)


def test_utility_is_a_harmonic_mean_of_nine_parts() -> None:
    assert len(set(UTILITY_PARTS)) == 9
    parts = dict.fromkeys(UTILITY_PARTS, 1.0)
    assert model_utility(parts | {"world_facts_rouge": 0.5}) == pytest.approx(9 / (8 + 1 / 0.5))
    assert model_utility(parts | {"retain_truth": 0.0}) == 0.0
    assert model_utility(parts) == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"retain_rouge": 1.5}, "retain_rouge"),
        ({"retain_truth": math.nan}, "retain_truth"),
        ({"forget_rouge": 0.5}, "forget_rouge"),
    ],
)
def test_a_part_that_cannot_be_is_named(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model_utility(dict.fromkeys(UTILITY_PARTS, 1.0) | change)


def test_a_missing_part_is_named() -> None:
    parts = dict.fromkeys(UTILITY_PARTS, 1.0)
    del parts["real_authors_truth"]
    with pytest.raises(ValueError, match="real_authors_truth"):
        model_utility(parts)
