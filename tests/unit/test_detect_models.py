"""The parts that are fitted: fusion, outlier model, calibration on disk; and the index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.detect.calibration import Calibration
from guards.detect.index import VectorIndex
from guards.detect.ood import SoftWeight
from offline.detector.fitting import fit_fusion, fit_outlier_model
from tests.fakes.encoder import DIMENSION, embed, make_calibration

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


@pytest.mark.thorough
def test_fusion_finds_the_weights_that_made_the_labels() -> None:
    draw = np.random.default_rng(5)
    x = draw.normal(size=(4_000, 3)).astype(np.float32)
    p = 1 / (1 + np.exp(-(2.0 * x[:, 0] - 1.0 * x[:, 1] + 0.5)))
    inside = draw.random(4_000) < p
    fusion = fit_fusion(x, inside, np.ones(4_000), np.array([1, -1, 1], dtype=np.int8))
    assert fusion.weights[:2] == pytest.approx([2.0, -1.0], abs=0.2)
    assert fusion.intercept == pytest.approx(0.5, abs=0.15)
    assert np.mean((fusion.probabilities(x) > 0.5) == inside) > 0.75


def test_evidence_against_its_sign_is_left_out() -> None:
    draw = np.random.default_rng(5)
    x = draw.normal(size=(2_000, 2)).astype(np.float32)
    inside = x[:, 0] - x[:, 1] + draw.normal(size=2_000) > 0
    fusion = fit_fusion(x, inside, np.ones(2_000), np.array([1, 1], dtype=np.int8))
    assert fusion.weights[0] > 0
    assert fusion.weights[1] == 0


def test_weights_count_as_repetition() -> None:
    draw = np.random.default_rng(5)
    x = draw.normal(size=(3_000, 1)).astype(np.float32)
    inside = x[:, 0] + draw.normal(size=3_000) > 0
    weights = draw.integers(1, 4, size=3_000)
    signs = np.array([1], dtype=np.int8)
    weighted = fit_fusion(x, inside, weights.astype(float), signs)
    repeated = fit_fusion(np.repeat(x, weights, axis=0), np.repeat(inside, weights), np.ones(weights.sum()), signs)
    assert weighted.weights[0] == pytest.approx(repeated.weights[0], rel=0.02)


def test_a_text_like_the_scopes_scores_above_background() -> None:
    background = embed([f"word{i} thing{i % 7} other{i % 11}" for i in range(300)])
    model = fit_outlier_model(background)
    forget = embed(["apple pear plum", "apple plum fig"])
    centre = model.centre(forget)
    probe = embed(["plum pear apple", "word1 thing1 other1"])
    scores = model.scores(centre, probe, (probe @ forget.T).max(axis=1))
    assert scores[0] > scores[1]


def test_the_soft_weight_is_the_papers() -> None:
    weight = SoftWeight(known=4.0, held_out=2.0, spread=1.0)
    # At the middle, 3: F(x) = F(2 * 3 - x), so P = 1 and the weight is sigmoid(8).
    assert weight.of(3.0) == pytest.approx(0.9996646)
    # At 1: F(1) = (Phi(-3) + Phi(-1)) / 2 = 0.080003, F(5) = 0.919997, so P = 0.160006 and sigmoid(-0.39994).
    assert weight.of(1.0) == pytest.approx(0.401327, abs=1e-5)
    assert weight.of(-100.0) == pytest.approx(0.119203, abs=1e-5)
    assert weight.of(100.0) == weight.of(3.0)


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.floats(1.0, 10.0), st.floats(-1e3, 1e3), st.floats(0.0, 1e3))
def test_what_is_more_like_the_scope_weighs_no_less(
    known: float, held_out: float, spread: float, score: float, more: float
) -> None:
    weight = SoftWeight(known, held_out, spread)
    assert 0.0 < weight.of(score) <= weight.of(score + more) + 1e-9 <= 1.0 + 1e-9


@pytest.mark.parametrize("items", [1, 2, 20])
def test_a_scopes_own_texts_weigh_most(items: int) -> None:
    rng = np.random.default_rng(3)
    background = _unit(rng.normal(size=(400, 16)))
    model = fit_outlier_model(background)
    forget = _unit(rng.normal(size=(items, 16)) * 0.3 + np.eye(16)[0] * 2.0).astype(np.float32)
    centre = model.centre(forget)
    weight = model.soft_weight(centre, forget)
    own = model.score(centre, forget[0], 1.0)
    far = [model.score(centre, vector, float((forget @ vector).max())) for vector in background[:50].astype(np.float32)]
    assert weight.of(own) > 0.5
    assert np.mean([weight.of(score) for score in far]) < weight.of(own)


def test_a_calibration_survives_the_disk(tmp_path: Path) -> None:
    calibration = make_calibration(["Wer schrieb das? 好", "hello there", "a third prompt"])
    calibration.save(tmp_path / "calibration.npz")
    loaded = Calibration.load(tmp_path / "calibration.npz")
    assert loaded.encoder == calibration.encoder
    assert loaded.background.prompts == calibration.background.prompts
    assert np.array_equal(loaded.background.vectors, calibration.background.vectors)
    assert np.array_equal(loaded.outliers.precision, calibration.outliers.precision)
    assert np.array_equal(loaded.fusion.weights, calibration.fusion.weights)
    assert list(tmp_path.iterdir()) == [tmp_path / "calibration.npz"]


def test_what_is_no_calibration_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "other.npz").open("wb") as file:
        np.savez(file, header=np.frombuffer(b"{}", dtype=np.uint8))
    (tmp_path / "text.npz").write_text("not arrays")
    (tmp_path / "empty.npz").write_bytes(b"")
    for name in ("other.npz", "text.npz", "empty.npz"):
        with pytest.raises(ValueError, match="calibration"):
            Calibration.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        Calibration.load(tmp_path / "missing.npz")


def test_the_index_answers_with_requests_and_forgets_them_at_once() -> None:
    index = VectorIndex(DIMENSION)
    assert index.search(embed(["anything"]), 3) == [{}]
    index.add("r1", embed(["red apple", "green apple"]))
    index.add("r2", embed(["blue whale"]))
    (found,) = index.search(embed(["green apple"]), 3)
    assert found["r1"] == pytest.approx(1.0, abs=1e-5)
    assert list(found) == ["r1", "r2"]
    index.add("r1", embed(["yellow pear"]))
    assert len(index) == 2
    index.remove("r2")
    index.remove("unknown")
    (found,) = index.search(embed(["blue whale"]), 3)
    assert list(found) == ["r1"]
    index.remove("r1")
    assert len(index) == 0


def test_a_request_with_many_near_items_hides_no_other() -> None:
    index = VectorIndex(DIMENSION)
    index.add("many", np.repeat(embed(["green apple"]), 200, axis=0))
    index.add("other", embed(["blue whale"]))
    (found,) = index.search(embed(["green apple"]), 4)
    assert list(found) == ["many", "other"]
