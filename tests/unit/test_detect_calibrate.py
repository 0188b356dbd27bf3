"""Calibration learns what the evidence is worth, the same way each time, and says how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
import pytest

from guards.detect.evidence import FEATURES, SIGNS
from offline.detector import calibrate as module
from offline.detector.background import background_prompts
from offline.detector.training import training_scopes
from tests.fakes.encoder import WordEncoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from guards.detect.calibration import Calibration

pytestmark = pytest.mark.thorough


def calibrated(progress: Callable[[float], None]) -> Calibration:
    """From a part of the texts."""
    prompts, scopes = background_prompts()[:600], training_scopes()[::4]
    with (
        mock.patch.object(module, "background_prompts", return_value=prompts),
        mock.patch.object(module, "training_scopes", return_value=scopes),
    ):
        return module.calibrate(WordEncoder(), progress=progress)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def progress() -> list[float]:
    return []


@pytest.fixture(scope="module")
def calibration(progress: list[float]) -> Calibration:
    return calibrated(progress.append)


def test_weights_have_the_signs_that_evidence_has_and_progress_ends_at_one(
    calibration: Calibration, progress: list[float]
) -> None:
    weights = dict(zip(FEATURES, calibration.fusion.weights, strict=True))
    assert weights["similarity"] > 0
    assert weights["name"] > 0
    assert weights["foreign_name"] < 0
    assert all(weight * sign >= 0 for weight, sign in zip(weights.values(), SIGNS, strict=True))
    assert calibration.encoder == WordEncoder.fingerprint
    assert len(calibration.background.prompts) == 600
    assert progress == sorted(progress)
    assert progress[-1] == pytest.approx(1.0)


def test_it_comes_out_the_same_twice(calibration: Calibration) -> None:
    again = calibrated(lambda _: None)
    assert np.array_equal(again.fusion.weights, calibration.fusion.weights)
    assert np.array_equal(again.background.vectors, calibration.background.vectors)
