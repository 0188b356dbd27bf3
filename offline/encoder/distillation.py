"""Distilling a sentence encoder into static embeddings (model2vec, Tulkens and van Dongen, 2024), once for an encoder.

Where a static vector surely says that a prompt is outside is learned from prompts about made-up people, works, records
and topics that the whole detector finds.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from guards.compile import compile_scope
from guards.detect.batching import EncoderQueue
from guards.detect.detector import Detector
from guards.detect.encoder import load_model
from guards.detect.static import Cutoff, StaticEncoder, bags
from guards.detect.thresholds import neyman_pearson_threshold
from guards.detect.words import zipf
from guards.plan import Role, Segment
from guards.scope import Mode, default_policy
from offline.detector.background import SEED
from offline.detector.training import training_scopes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from guards.detect.calibration import Calibration
    from guards.detect.encoder import Encoder
    from guards.scope import Scope
    from offline.detector.training import TrainingScope

MISSED: Final = 0.001
"""Share of what the whole detector finds that the static stage may miss."""
CONFIDENCE: Final = 0.95
_SMOOTH: Final = 1e-3
"""``a`` of Arora et al.: words rarer than one in a thousand count in full."""
_RIDGE: Final = 1.0
_BATCH: Final = 1_024
# Sets of made-up owners, none of them those that fusion learned from: as many prompts as the bound takes, 3,000.
_SETS: Final = 7
# Shares of the time taken.
_TOKENS_DONE: Final = 0.3


def fingerprint(rates: tuple[float, float, float]) -> str:
    """Hash of what static embeddings depend on besides encoder and calibration: hex, 16 characters."""
    return hashlib.sha256(Path(__file__).read_bytes() + repr(rates).encode()).hexdigest()[:16]


def calibration_scopes() -> list[TrainingScope]:
    """Those that the static stage is calibrated by, unless others are given."""
    return [scope for number in range(1, _SETS + 1) for scope in training_scopes(SEED + number)]


def distil(
    directory: Path,
    encoder: Encoder,
    calibration: Calibration,
    *,
    rates: tuple[float, float, float],
    scopes: Sequence[TrainingScope] | None = None,
    progress: Callable[[float], None] | None = None,
) -> StaticEncoder:
    """Static embeddings of the encoder in ``directory``. Deterministic; ``progress`` is told the share done, 0..1.

    ``rates`` are the false-positive rates of the high and the low band, and their confidence: what is found depends on
    them. With fewer ``scopes`` to calibrate by than it takes the bound is wider. Runs an event loop: call it in a
    thread of its own.
    """
    if scopes is None:
        scopes = calibration_scopes()
    say = progress or (lambda _: None)
    tokenizer, tokens = _tokens(directory, lambda share: say(_TOKENS_DONE * share))
    static = StaticEncoder(tokenizer, tokens, *_mapped(tokenizer, tokens, calibration))
    told = asyncio.run(
        _found(
            static, encoder, calibration, rates, scopes, lambda share: say(_TOKENS_DONE + (1 - _TOKENS_DONE) * share)
        )
    )
    above = neyman_pearson_threshold(-np.array(told), alpha=MISSED, confidence=CONFIDENCE)
    return replace(static, cutoff=Cutoff(min(1.0, -above.probability), above.alpha, CONFIDENCE, tuple(told)))


def _tokens(directory: Path, progress: Callable[[float], None]) -> tuple[str, NDArray[np.float16]]:
    """The tokenizer, and what the encoder makes of each token by itself, weighted by how rare it is."""
    import torch

    model = load_model(directory)
    tokenizer = model.tokenizer
    first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
    rows = []
    for start in range(0, len(tokenizer), _BATCH):
        ids = torch.arange(start, min(start + _BATCH, len(tokenizer)))
        asked = torch.stack([torch.full_like(ids, first), ids, torch.full_like(ids, last)], dim=1).to(model.device)
        with torch.inference_mode():
            given = {"input_ids": asked, "attention_mask": torch.ones_like(asked)}
            rows.append(model(given)["sentence_embedding"].float().cpu().numpy())
        progress((start + len(ids)) / len(tokenizer))
    alone = np.concatenate(rows)
    words = (token.lstrip("#▁Ġ").lower() for token in tokenizer.convert_ids_to_tokens(list(range(len(alone)))))
    share = np.array([10.0 ** (zipf(word) - 9.0) for word in words])
    weighted = (alone - alone.mean(axis=0)) * (_SMOOTH / (_SMOOTH + share))[:, None]
    return tokenizer.backend_tokenizer.to_str(), weighted.astype(np.float16)


def _mapped(
    tokenizer: str, tokens: NDArray[np.float16], calibration: Calibration
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Means of the background's bags and vectors, and the ridge regression from one to the other."""
    from tokenizers import Tokenizer

    read = Tokenizer.from_str(tokenizer)
    read.no_truncation()
    read.no_padding()
    encodings = read.encode_batch(list(calibration.background.windows), add_special_tokens=False)
    said = bags(tokens, [encoding.ids for encoding in encodings]).astype(np.float64)
    heard = calibration.background.vectors.astype(np.float64)
    centre, target = said.mean(axis=0), heard.mean(axis=0)
    said, heard = said - centre, heard - target
    mapping = np.linalg.solve(said.T @ said + _RIDGE * np.eye(said.shape[1]), said.T @ heard)
    return centre.astype(np.float32), target.astype(np.float32), mapping.astype(np.float32)


async def _found(
    static: StaticEncoder,
    encoder: Encoder,
    calibration: Calibration,
    rates: tuple[float, float, float],
    scopes: Sequence[TrainingScope],
    progress: Callable[[float], None],
) -> list[float]:
    """For each prompt that the whole detector finds, how near its static vector comes, as `Prefilter.likely` has it."""
    queue = EncoderQueue(encoder, max_tokens=100_000_000, batch_tokens=8_192)
    queue.start()
    found: list[float] = []
    try:
        for number, scope in enumerate(scopes):
            made = await _compiled(scope, queue, calibration, rates)
            detector = Detector(queue, calibration, static=static)
            detector.apply(made)
            flagged = await asyncio.gather(*(detector.detect(_asks(prompt)) for prompt in scope.inside))
            found += [detector.likely(prompt) for prompt, bands in zip(scope.inside, flagged, strict=True) if bands]
            progress((number + 1) / len(scopes))
    finally:
        queue.close()
    return found


async def _compiled(
    scope: TrainingScope, queue: EncoderQueue, calibration: Calibration, rates: tuple[float, float, float]
) -> Scope:
    high, low, confidence = rates
    return await compile_scope(
        scope.source,
        request_id=scope.source.subject,
        version=1,
        mode=Mode.ENFORCE,
        policy=default_policy(scope.source.kind, scope.source.extent),
        encode=queue.encode,
        calibration=calibration,
        encoder=calibration.encoder,
        alpha_high=high,
        alpha_low=low,
        confidence=confidence,
    )


def _asks(prompt: str) -> list[Segment]:
    return [Segment(("prompt",), prompt, Role.ASKS)]
