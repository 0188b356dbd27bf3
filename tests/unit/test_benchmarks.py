"""How benchmarks come from rounds to a figure, an interval and a verdict."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict

import pytest

from benchmarks import engine, overhead
from benchmarks.engine import FEWEST_ROUNDS, Ratio
from benchmarks.overhead import Look
from benchmarks.visits import Round


def normal(number: int, *, mean: float = 0.0, spread: float = 1.0, seed: int = 1) -> list[float]:
    draw = random.Random(seed)
    return [draw.gauss(mean, spread) for _ in range(number)]


@pytest.mark.parametrize("number", [25, 100, 400])
def test_an_interval_is_as_wide_as_the_values_spread(number: int) -> None:
    values = normal(number, mean=3.0, spread=2.0)
    mean, low, high = overhead.interval(values)
    assert mean == pytest.approx(sum(values) / number)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / number)
    half = 1.96 * deviation / math.sqrt(number)  # by the central limit theorem
    assert (mean - low) == pytest.approx(half, rel=0.12)
    assert (high - mean) == pytest.approx(half, rel=0.12)
    assert overhead.interval(values) == (mean, low, high)


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    intervals = [overhead.interval(normal(40, mean=1.0, seed=seed), draws=1_000) for seed in range(200)]
    held = sum(low <= 1.0 <= high for _, low, high in intervals)
    assert 180 <= held <= 197


def rounds(p50s: list[float], rates: list[float]) -> list[Round]:
    return [Round(p50, 10 * p50, p50, rate) for p50, rate in zip(p50s, rates, strict=True)]


def test_overhead_is_taken_within_a_round() -> None:
    """The machine slows down tenfold, and what is added stays the same."""
    slower = [1.0, 2.0, 4.0, 7.0, 10.0]
    direct = rounds(slower, [1_000 / ms for ms in slower])
    through = rounds([ms + 0.25 for ms in slower], [800 / ms for ms in slower])
    found = overhead.compare("gateway", 16, direct, through)
    assert (found.target, found.clients) == ("gateway", 16)
    assert (found.p50_ms, found.p99_ms, found.per_second) == (4.25, 42.5, 200.0)
    assert (found.added_p50_ms, found.added_p50_low, found.added_p50_high) == pytest.approx((0.25,) * 3)
    assert (found.throughput_ratio, found.throughput_low, found.throughput_high) == pytest.approx((0.8,) * 3)
    spread = overhead.compare("gateway", 16, direct, rounds([1.1, 2.9, 4.4, 7.6, 11.0], [500.0] * 5))
    assert spread.added_p50_low < spread.added_p50_ms < spread.added_p50_high
    assert spread.added_p50_ms == pytest.approx(0.6)
    with pytest.raises(ValueError):
        overhead.compare("gateway", 1, direct, through[:-1])


BOUNDS = (0.0005, 0.001, 0.002, math.inf)


def seen(*cumulative: int, encoded: int) -> Look:
    stages = {"encode": Counter({bound: min(count, encoded) for bound, count in zip(BOUNDS, cumulative, strict=True)})}
    return Look(Counter(dict(zip(BOUNDS, cumulative, strict=True))), defaultdict(Counter, stages))


def test_a_gateways_own_figures_are_those_between_two_looks() -> None:
    before, after = seen(4, 5, 6, 6, encoded=6), seen(54, 95, 106, 106, encoded=106)
    found = overhead.own(16, before, after)
    assert (found.clients, found.requests, found.within_1_ms) == (16, 100, 0.9)
    assert found.p50_ms == pytest.approx(0.5)
    assert 1.0 < found.p99_ms <= 2.0
    assert found.stages_p50_ms["encode"] == pytest.approx(0.5)
    with pytest.raises(RuntimeError, match="the encoder has read 93 of 100"):
        overhead.own(16, before, seen(54, 95, 106, 106, encoded=99))


def ratio(low: float, high: float, *, number: int = FEWEST_ROUNDS, target: float = 0.98) -> Ratio:
    return Ratio("unflagged", target, math.sqrt(low * high), low, high, (math.sqrt(low * high),) * number)


@pytest.mark.parametrize(
    ("low", "high", "number", "verdict"),
    [
        (0.981, 0.99, 20, "met"),
        (0.98, 0.99, 20, "met"),
        (0.99, 1.2, 20, "met"),
        (0.5, 0.979, 20, "missed"),
        (0.97, 0.98, 20, "inconclusive"),
        (0.979, 1.2, 20, "inconclusive"),
        (0.99, 1.0, FEWEST_ROUNDS, "met"),
        (0.99, 1.0, FEWEST_ROUNDS - 1, "inconclusive"),
        (0.5, 0.6, FEWEST_ROUNDS, "missed"),
        (0.5, 0.6, FEWEST_ROUNDS - 1, "inconclusive"),
    ],
)
def test_a_target_is_met_or_missed_only_by_the_whole_interval(
    low: float, high: float, number: int, verdict: str
) -> None:
    assert ratio(low, high, number=number).verdict == verdict


@pytest.mark.parametrize(
    ("factor", "spread", "number", "verdict"),
    [
        (1.0, 0.005, 20, "met"),
        (0.9, 0.005, 20, "missed"),
        (1.0, 0.2, 20, "inconclusive"),
        (0.9, 0.6, 20, "inconclusive"),
        (1.0, 0.0, 4, "inconclusive"),
    ],
)
def test_a_run_is_inconclusive_where_its_rounds_spread_too_far(
    factor: float, spread: float, number: int, verdict: str
) -> None:
    plain = normal(number, mean=100.0, spread=20.0)
    measured = [
        rate * factor * math.exp(noise)
        for rate, noise in zip(plain, normal(number, spread=spread, seed=2), strict=True)
    ]
    found = engine.compare("unflagged", 0.98, plain, measured, seed=0)
    assert found.verdict == verdict
    assert found.low <= found.ratio <= found.high
    assert found.rounds == pytest.approx([b / a for a, b in zip(plain, measured, strict=True)])


def test_ratios_are_averaged_as_ratios() -> None:
    """Twice as fast and half as fast cancel."""
    found = engine.compare("half", 0.95, [10.0, 10.0] * 4, [20.0, 5.0] * 4, seed=0)
    assert found.ratio == pytest.approx(1.0)
    assert found.low * found.high == pytest.approx(1.0, rel=0.05)
    assert found.verdict == "inconclusive"
