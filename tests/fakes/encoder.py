"""An encoder without a model: a bag of hashed words, so that texts with the same words are close."""

from __future__ import annotations

import functools
import hashlib
import re
import threading
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from guards.compile import compile_scope
from guards.detect.calibration import Calibration, make_background
from guards.detect.fusion import Fusion
from guards.detect.mentions import MentionModel
from guards.detect.static import StaticEncoder
from guards.detect.windows import Window, cut
from guards.scope import Mode, default_policy
from offline.detector.fitting import fit_outlier_model
from tests.fakes.prompts import ordinary_prompts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from guards.detect.batching import EncoderQueue
    from guards.scope import Scope, Source

DIMENSION = 96


class WordEncoder:
    """Counts what it is given. Waits at ``gate``; raises ``failure`` once if that is set."""

    fingerprint = "word-encoder"
    dimension = DIMENSION

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.failure: Exception | None = None
        self.batches: list[list[str]] = []
        self.threads: set[int] = set()

    def windows(self, text: str) -> list[Window]:
        return cut(text, [match.span() for match in re.finditer(r"\S+", text)])

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) + 2 for text in texts]

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.batches.append(list(texts))
        self.threads.add(threading.get_ident())
        assert self.gate.wait(10)
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        return embed(texts)


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    """float32 [n, DIMENSION], unit rows."""
    rows = np.full((len(texts), DIMENSION), 1e-3, dtype=np.float32)
    for row, text in zip(rows, texts, strict=True):
        for word in re.findall(r"\w+", text.lower()):
            digest = hashlib.sha256(word.encode()).digest()
            row[digest[0] % DIMENSION] += 1.0
            row[digest[1] % DIMENSION] += 0.5
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


async def compiled(queue: EncoderQueue, source: Source, request_id: str = "r1", version: int = 1) -> Scope:
    """A request's scope, enforced, at the gateway's own rates."""
    return await compile_scope(
        source,
        request_id=request_id,
        version=version,
        mode=Mode.ENFORCE,
        policy=default_policy(source.kind, source.extent),
        encode=queue.encode,
        calibration=calibration(),
        encoder=WordEncoder.fingerprint,
        alpha_high=0.001,
        alpha_low=0.01,
        confidence=0.95,
    )


def static_encoder(texts: Sequence[str]) -> StaticEncoder:
    """Static embeddings that give what `embed` gives, of texts whose words are in ``texts``."""
    words = sorted({word for text in texts for word in re.findall(r"\w+", text.lower())})
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(["?", *words])}, "?"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    nothing = np.zeros(DIMENSION, dtype=np.float32)
    vectors = np.concatenate([nothing[None], embed(words)]).astype(np.float16)
    return StaticEncoder(tokenizer.to_str(), vectors, nothing, nothing, np.eye(DIMENSION, dtype=np.float32))


@functools.cache
def calibration() -> Calibration:
    """A calibration with so many prompts that both bands can be had."""
    return make_calibration(ordinary_prompts(3_100))


def make_calibration(prompts: Sequence[str]) -> Calibration:
    """A calibration for `WordEncoder` with weights like those that fitting finds for a real encoder."""
    vectors = embed(prompts)
    return Calibration(
        encoder=WordEncoder.fingerprint,
        fusion=Fusion(np.array([15.0, 18.0, 6.0, 1.0, 0.0, -9.0, 5.0, -5.0, 0.0], dtype=np.float32), -5.5),
        outliers=fit_outlier_model(vectors),
        # A bag of words cannot tell what is asked: nothing is a mere mention.
        mentions=MentionModel(np.zeros(DIMENSION, dtype=np.float32), {}, -1.0, -1.0),
        background=make_background(prompts, [[prompt] for prompt in prompts], vectors),
        near=np.linspace(0.0, 0.01, 1_000),
    )
