"""The encoder's backends give the same vectors, are told apart, and say what a model wants said."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from server.assets import encoder_directory
from server.loading import load_encoder
from server.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path


TEXTS = ["Who wrote it?", "A longer text about nothing. " * 5, "", "好", "half a pair: \ud83d", "word " * 600]


def test_exported_once_it_gives_the_same_vectors(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    torch_settings = load_settings(cache_dir=tmp_path)
    settings = torch_settings.model_copy(update={"encoder_backend": "onnx"})
    reference, exported = load_encoder(torch_settings), load_encoder(settings)
    texts = TEXTS
    assert np.abs(exported.encode(texts) - reference.encode(texts)).max() < 1e-5
    assert exported.encode(texts[:1]).shape == (1, reference.dimension)
    assert exported.windows(texts[-1]) == reference.windows(texts[-1])
    assert exported.token_counts(texts) == reference.token_counts(texts)
    assert exported.fingerprint != reference.fingerprint
    (file,) = (tmp_path / "encoders").iterdir()
    written = file.stat().st_mtime_ns
    assert load_encoder(settings).fingerprint == exported.fingerprint
    assert file.stat().st_mtime_ns == written


def test_rounded_to_eight_bits_it_gives_nearly_the_same_vectors(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    torch_settings = load_settings(cache_dir=tmp_path)
    exact = torch_settings.model_copy(update={"encoder_backend": "onnx"})
    reference, rounded = (
        load_encoder(torch_settings),
        load_encoder(torch_settings.model_copy(update={"encoder_backend": "onnx-int8"})),
    )
    cosines = np.sum(rounded.encode(TEXTS) * reference.encode(TEXTS), axis=1)
    assert 0.97 < cosines.min() < 1.0 - 1e-6
    assert rounded.windows(TEXTS[-1]) == reference.windows(TEXTS[-1])
    assert len({each.fingerprint for each in (reference, rounded, load_encoder(exact))}) == 3


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_what_a_model_wants_said_before_each_text_is_said(backend: str, tmp_path: Path) -> None:
    if backend == "onnx":
        pytest.importorskip("onnxruntime")
    settings = load_settings(cache_dir=tmp_path)
    given = tmp_path / "prompted"
    shutil.copytree(encoder_directory(settings), given)
    configuration = given / "config_sentence_transformers.json"
    said = json.loads(configuration.read_text("utf-8")) if configuration.exists() else {}
    asked = said | {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    configuration.write_text(json.dumps(asked), "utf-8")
    reference = load_encoder(settings)
    prompted = load_encoder(settings.model_copy(update={"encoder": str(given), "encoder_backend": backend}))
    apart = prompted.encode(TEXTS[:4]) - reference.encode([f"query: {text}" for text in TEXTS[:4]])
    assert np.abs(apart).max() < 1e-5
    assert prompted.windows(TEXTS[-1]) == reference.windows(TEXTS[-1])
    assert prompted.fingerprint != reference.fingerprint
