"""What the sentence encoder is tuned on."""

from __future__ import annotations

from offline.detector.training import training_owners
from offline.encoder.pairs import training_pairs

PAIRS = training_pairs(1_000)


def test_half_of_the_pairs_are_paraphrases_and_all_are_distinct() -> None:
    assert len(PAIRS) == 1_000
    assert sum(pair.same for pair in PAIRS) == 500
    assert len({(pair.one, pair.other) for pair in PAIRS}) == 1_000
    assert all(pair.one != pair.other for pair in PAIRS)


def test_the_same_seed_gives_the_same_pairs() -> None:
    assert training_pairs(200) == training_pairs(200)
    assert training_pairs(200) != training_pairs(200, seed=2)


def test_nobody_is_in_them_whom_calibration_measures_with() -> None:
    measured = {owner.name.lower() for owner in training_owners()}
    met = [pair for pair in PAIRS if any(name in f"{pair.one} {pair.other}".lower() for name in measured)]
    assert met == []
