"""Calibration learns what the evidence is worth, the same way each time, and says how far it is."""

from __future__ import annotations

import numpy as np
import pytest

from guards.detect.evidence import FEATURES, SIGNS
from offline.detector import calibrate as module
from offline.detector.background import background_prompts
from offline.detector.training import training_scopes
from tests.fakes.encoder import WordEncoder


@pytest.fixture(autouse=True)
def _reduced(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts, scopes = background_prompts()[:600], training_scopes()[::4]
    monkeypatch.setattr(module, "background_prompts", lambda: prompts)
    monkeypatch.setattr(module, "training_scopes", lambda: scopes)


def test_weights_have_the_signs_that_evidence_has_and_progress_ends_at_one() -> None:
    progress: list[float] = []
    calibration = module.calibrate(WordEncoder(), progress=progress.append)  # type: ignore[arg-type]
    weights = dict(zip(FEATURES, calibration.fusion.weights, strict=True))
    assert weights["similarity"] > 0
    assert weights["name"] > 0
    assert weights["foreign_name"] < 0
    assert all(weight * sign >= 0 for weight, sign in zip(weights.values(), SIGNS, strict=True))
    assert calibration.encoder == WordEncoder.fingerprint
    assert len(calibration.background.prompts) == 600
    assert progress == sorted(progress)
    assert progress[-1] == pytest.approx(1.0)


def test_it_comes_out_the_same_twice() -> None:
    first, second = (module.calibrate(WordEncoder()) for _ in range(2))  # type: ignore[arg-type]
    assert np.array_equal(first.fusion.weights, second.fusion.weights)
    assert np.array_equal(first.background.vectors, second.background.vectors)
