"""A real encoder, tuned on a few pairs: a drop-in encoder that tells owners apart better."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from guards.detect.encoder import Encoder
from offline.encoder.pairs import training_pairs
from offline.encoder.tuning import RECIPE, Tuning, tune
from server.assets import encoder_directory
from server.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from offline.encoder.pairs import Pair

TUNING = Tuning(pairs=240, learning_rate=5e-5)


def test_owners_are_told_apart_better(tmp_path: Path) -> None:
    source = encoder_directory(load_settings())
    told: list[tuple[int, int]] = []
    tune(source, tmp_path / "tuned", TUNING, threads=1, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (240, 240)
    assert (tmp_path / "tuned" / RECIPE).exists()
    before, after = Encoder.load(source, threads=1), Encoder.load(tmp_path / "tuned", threads=1)
    assert before.fingerprint != after.fingerprint
    assert before.dimension == after.dimension
    # Pairs of another seed: none of them was tuned on.
    tuned_on = {pair.one for pair in training_pairs(TUNING.pairs, TUNING.seed)}
    pairs = [pair for pair in training_pairs(200, seed=99) if pair.one not in tuned_on]
    assert _gap(after, pairs) > _gap(before, pairs) + 0.05


def _gap(encoder: Encoder, pairs: list[Pair]) -> float:
    """How much more alike paraphrases are than questions about others."""
    one, other = (encoder.encode([getattr(pair, side) for pair in pairs]) for side in ("one", "other"))
    similar = (one * other).sum(axis=1)
    same = np.array([pair.same for pair in pairs])
    assert similar == pytest.approx(np.clip(similar, -1, 1), abs=1e-4)
    return float(similar[same].mean() - similar[~same].mean())
