"""What passes a scope by could not have reached any of its bands; and most of what is unrelated does pass by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.detect.evidence import FEATURES, SIGNS, WindowText
from guards.detect.fusion import Fusion
from guards.detect.scoring import ScopeScorer
from guards.detect.sieve import Sieve
from guards.detect.words import Words
from guards.scope import Alias, Extent, Items, Kind, Mode, Scope, Threshold, default_policy
from tests.examples import examples
from tests.fakes.encoder import WordEncoder, calibration, embed

VOCABULARY = (
    *("who", "wrote", "the", "book", "about", "a", "lamp", "of", "was", "born", "on"),
    *("Quorvane", "Albtrees", "Ostley", "BERLIN", "Café", "Müller", "好", "r2d2"),
    *("1956", "in 1871.", "03/09/1956", "8 September 1956", "?", "e-mail", "O'Neill"),
)
WEIGHTS = st.tuples(*(st.floats(0.0, 12.0) for _ in range(9)))
TEXTS = st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=8).map(" ".join)


def _scope(aliases: list[str], texts: list[str], low: float) -> Scope:
    threshold = Threshold(low, 0.01, 0.95, 1000)
    return Scope(
        request_id="fr_1",
        version=1,
        subject=aliases[0],
        kind=Kind.PERSON,
        extent=Extent.KNOWLEDGE,
        mode=Mode.ENFORCE,
        policy=default_policy(Kind.PERSON, Extent.KNOWLEDGE),
        aliases=tuple(Alias(alias, 1e-9) for alias in aliases),
        forget=Items(tuple(texts), embed(texts).astype(np.float16)),
        retain=Items((), np.empty((0, embed(["x"]).shape[1]), dtype=np.float16)),
        high=threshold,
        low=threshold,
        encoder=WordEncoder.fingerprint,
    )


@examples(300)
@given(
    weights=WEIGHTS,
    aliases=st.lists(TEXTS, min_size=1, max_size=2),
    texts=st.lists(TEXTS, min_size=1, max_size=4),
    low=st.floats(0.01, 0.9999),
    asked=TEXTS,
)
def test_what_passes_by_could_reach_no_band(
    weights: tuple[float, ...], aliases: list[str], texts: list[str], low: float, asked: str
) -> None:
    fusion = Fusion(np.array([sign * weight for sign, weight in zip(SIGNS, weights, strict=True)], np.float32), -5.5)
    calibrated = replace(calibration(), fusion=fusion)
    scope = _scope(aliases, texts, low)
    sieve = Sieve(calibrated)
    sieve.add(scope, [Words(text) for text in texts])
    scorer = ScopeScorer(scope, calibrated)
    window, vector = WindowText.of(asked), embed([asked])[0]
    similarity = float((scope.forget.vectors @ vector).max())
    if scorer.may_reach(similarity, vector, window, 0.0):
        assert sieve.may_reach("fr_1", sieve.glance(vector, window), similarity)


def test_what_shares_no_word_passes_by() -> None:
    scope = _scope(["Quorvane Albtrees"], ["Where was Quorvane Albtrees born, in Ostley?"], 0.9)
    sieve = Sieve(calibration())
    sieve.add(scope, [Words(text) for text in scope.forget.texts])

    def may_reach(text: str, similarity: float) -> bool:
        vector = embed([text])[0]
        return sieve.may_reach("fr_1", sieve.glance(vector, WindowText.of(text)), similarity)

    assert not may_reach("what is the capital of france", 0.45)
    assert may_reach("what is the capital of france", 0.95)
    assert may_reach("who is albtrees", 0.45)


@pytest.mark.parametrize("feature", range(len(FEATURES)))
def test_weights_of_a_wrong_sign_are_refused(feature: int) -> None:
    weights = calibration().fusion.weights.copy()
    weights[feature] = -1.0 if SIGNS[feature] > 0 else 1.0
    with pytest.raises(ValueError, match=f"weight of '{FEATURES[feature]}' has the wrong sign"):
        Sieve(replace(calibration(), fusion=Fusion(weights, -5.5)))
