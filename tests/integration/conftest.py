"""The real encoder with its calibration, for whatever is tested on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from guards.detect.batching import EncoderQueue
from server.loading import load_calibration, load_encoder
from server.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guards.detect.calibration import Calibration
    from guards.detect.encoder import Encoder


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder(load_settings())


@pytest.fixture(scope="module")
def calibration(encoder: Encoder) -> Calibration:
    return load_calibration(load_settings(), encoder, lambda share: None)


@pytest.fixture(scope="module")
def queue(encoder: Encoder) -> Iterator[EncoderQueue]:
    made = EncoderQueue(encoder, max_tokens=1_000_000, batch_tokens=4_096)
    made.start()
    yield made
    made.close()
