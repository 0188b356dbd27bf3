"""The encoder exported to ONNX gives torch's vectors, and is told apart from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from server.loading import load_encoder
from server.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path


def test_exported_once_it_gives_the_same_vectors(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    torch_settings = load_settings(cache_dir=tmp_path)
    settings = torch_settings.model_copy(update={"encoder_backend": "onnx"})
    reference, exported = load_encoder(torch_settings), load_encoder(settings)
    texts = ["Who wrote it?", "A longer text about nothing. " * 5, "", "好", "half a pair: \ud83d", "word " * 600]
    assert np.abs(exported.encode(texts) - reference.encode(texts)).max() < 1e-5
    assert exported.encode(texts[:1]).shape == (1, reference.dimension)
    assert exported.windows(texts[-1]) == reference.windows(texts[-1])
    assert exported.token_counts(texts) == reference.token_counts(texts)
    assert exported.fingerprint != reference.fingerprint
    (file,) = (tmp_path / "encoders").iterdir()
    written = file.stat().st_mtime_ns
    assert load_encoder(settings).fingerprint == exported.fingerprint
    assert file.stat().st_mtime_ns == written
