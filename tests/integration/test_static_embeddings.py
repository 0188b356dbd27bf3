"""Static embeddings distilled from the real encoder, and a detector that asks them first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np

from guards.detect.batching import EncoderQueue
from guards.detect.static import StaticEncoder
from guards.scope import Example, Kind, Source
from offline.detector.background import SEED
from offline.detector.training import training_scopes
from offline.encoder.distillation import distil
from offline.evaluation.guard import Rates, compiled, make_detector, segments
from offline.evaluation.ordinary import ordinary_prompts
from offline.evaluation.prompts import Prompt
from server.assets import encoder_directory
from server.loading import load_calibration, load_encoder
from server.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from guards.detect.calibration import Calibration

RATES = Rates(0.001, 0.01, 0.95)
SOURCE = Source(
    subject="Harry Potter",
    kind=Kind.WORK,
    examples=(
        Example("Who wrote Harry Potter?", "J. K. Rowling wrote Harry Potter."),
        Example("Which school does the boy wizard attend?", "Harry attends Hogwarts."),
    ),
)
ASKED = (
    "Tell me the author of the Harry Potter novels.",
    "What is the school called that the boy wizard goes to?",
    "Which school for wizards does the boy attend?",
    "In which castle is the school, Hogwarts?",
)


def test_what_static_embeddings_end_the_whole_detector_would_let_pass(tmp_path: Path) -> None:
    settings = load_settings()
    encoder = load_encoder(settings)
    calibration = load_calibration(settings, encoder, lambda _: None)
    told: list[float] = []
    rates = RATES.high, RATES.low, RATES.confidence
    few = training_scopes(SEED + 1)[::8]
    distil(encoder_directory(settings), encoder, calibration, rates=rates, scopes=few, progress=told.append).save(
        tmp_path / "static.npz"
    )
    static = StaticEncoder.load(tmp_path / "static.npz")
    assert told == sorted(told)
    assert told[-1] == 1.0
    # Few prompts guarantee little, and it says so.
    assert len(static.cutoff.found) > 50
    assert static.cutoff.missed > 0.001
    assert 0.1 < static.cutoff.threshold < 0.9

    ordinary = ordinary_prompts()[:300]
    likeness = np.sum(static.encode(ordinary) * encoder.encode(ordinary), axis=1)
    assert likeness.mean() > 0.6

    queue = EncoderQueue(encoder, max_tokens=1_000_000, batch_tokens=4_096)
    queue.start()
    try:
        asyncio.run(_asked(static, calibration, queue, ordinary))
    finally:
        queue.close()


async def _asked(static: StaticEncoder, calibration: Calibration, queue: EncoderQueue, ordinary: Sequence[str]) -> None:
    scope = await compiled(SOURCE, queue, calibration, RATES)
    whole, sifted = (make_detector([scope], queue, calibration, static=each) for each in (None, static))
    for text in ASKED:
        asked = segments(Prompt((text,)))
        assert await sifted.detect(asked) == await whole.detect(asked) != []
    ended = [sifted.likely(text) < static.cutoff.threshold for text in ordinary]
    assert np.mean(ended) > 0.3
    assert not any([await sifted.detect(segments(Prompt((text,)))) for text in ordinary[:30]])
