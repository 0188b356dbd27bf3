"""The gateway's own detector as a contestant, driven as the gateway drives it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guards.compile import compile_scope
from guards.detect.detector import Detector
from guards.plan import Band, Role, Segment
from guards.scope import Mode, default_policy
from offline.evaluation.contestant import Judged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guards.detect.batching import EncoderQueue
    from guards.detect.calibration import Calibration
    from guards.detect.static import StaticEncoder
    from guards.plan import Detection
    from guards.scope import Scope, Source
    from offline.evaluation.prompts import Prompt

HIGH, ANY = "high band", "low or high band"


@dataclass(frozen=True, slots=True)
class Rates:
    """What the gateway's settings ask of a scope's thresholds."""

    high: float
    low: float
    confidence: float


async def compiled(source: Source, queue: EncoderQueue, calibration: Calibration, rates: Rates) -> Scope:
    """The scope of a request, enforced, under its subject's name as id."""
    return await compile_scope(
        source,
        request_id=source.subject,
        version=1,
        mode=Mode.ENFORCE,
        policy=default_policy(source.kind, source.extent),
        encode=queue.encode,
        calibration=calibration,
        encoder=calibration.encoder,
        alpha_high=rates.high,
        alpha_low=rates.low,
        confidence=rates.confidence,
    )


def make_detector(
    scopes: Sequence[Scope],
    queue: EncoderQueue,
    calibration: Calibration,
    observe: Callable[[str, float], None] | None = None,
    *,
    static: StaticEncoder | None = None,
    windows: int | None = None,
) -> Detector:
    """A detector that enforces the scopes."""
    detector = Detector(queue, calibration, static=static, windows=windows, observe=observe)
    for scope in scopes:
        detector.apply(scope)
    return detector


def segments(prompt: Prompt) -> list[Segment]:
    """A prompt as the chat endpoint reads it: each turn of the user's asks; the model's between are not known."""
    return [
        Segment(("messages", 2 * place, "content"), text, Role.ASKS, turn=2 * place)
        for place, text in enumerate(prompt.turns)
    ]


class Guard:
    """Scores are the highest probability over scopes, of more than 20 over the 20 of the largest margin.

    Its own thresholds are the scopes' bands.
    """

    name = "Unremember"

    def __init__(self, detector: Detector, rates: Rates, *, sifted: bool = False) -> None:
        """``sifted`` tells whether the detector has a static stage."""
        self._detector = detector
        self.note = (
            f"This project's detector: {len(detector.scopes())} scopes, bands at {rates.high:g} and {rates.low:g} of "
            f"its own background with confidence {rates.confidence:g}."
            + " With the static stage, which bands are told after, and scores before."
            * sifted
        )

    async def judge(self, prompts: Sequence[Prompt]) -> Judged:
        """Each prompt by every scope."""
        judged = await asyncio.gather(*map(self._judge, prompts))
        found = [explained for explained, _ in judged]
        bands = [{detection.band for detection in detected} for _, detected in judged]
        return Judged(
            np.array([max((one.probability for one in detections), default=0.0) for detections in found]),
            {
                HIGH: np.array([Band.HIGH in reached for reached in bands], dtype=bool),
                ANY: np.array([bool(reached) for reached in bands], dtype=bool),
            },
            tuple(
                max(detections, key=lambda one: one.probability).request_id if detections else ""
                for detections in found
            ),
        )

    async def _judge(self, prompt: Prompt) -> tuple[list[Detection], list[Detection]]:
        """Every scope's verdict, which gives the score, and those that the gateway would get, which give the bands."""
        asked = segments(prompt)
        explained, _ = await self._detector.explain(asked)
        return explained, await self._detector.detect(asked)
