"""How long a verdict takes, stage by stage, with nothing remembered."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guards.detect.batching import EncoderQueue
from offline.evaluation.guard import compiled, make_detector, segments
from offline.evaluation.intervals import quantiles
from offline.evaluation.prompts import Prompt
from offline.evaluation.transforms import World, surrounded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guards.detect.batching import TextEncoder
    from guards.detect.calibration import Calibration
    from guards.detect.detector import Detector
    from guards.scope import Source
    from offline.evaluation.guard import Rates

    Make = Callable[[EncoderQueue, Callable[[str, float], None] | None], Detector]
    """Makes a detector, which tells of each stage and the seconds spent in it."""

_SHORT = (20, 40)
"""Tokens of the prompts that stand for the usual ones."""
_LONG_TOKENS = 2_000
_WARM_UP = 5


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds by stage, and of the whole verdict; of one kind of prompt."""

    kind: str
    tokens: float
    """Mean tokens of a prompt."""
    stages: dict[str, list[float]]

    def figures(self) -> dict[str, Any]:
        """JSON-able: p50, p90, p99 with intervals."""
        return {"tokens": self.tokens, "ms": {stage: quantiles(spent) for stage, spent in self.stages.items()}}


async def measure(
    encoder: TextEncoder,
    make: Make,
    prompts: Sequence[Prompt],
    *,
    count: int,
    seed: int,
    done: Callable[[int], None],
) -> list[Latency]:
    """Verdicts one by one, of short prompts and, a tenth as many, of long ones. ``encoder`` remembers nothing."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    shuffled = draw.sample(list(dict.fromkeys(prompts)), len(set(prompts)))
    counts = encoder.token_counts([prompt.text for prompt in shuffled])
    short = [prompt for prompt, tokens in zip(shuffled, counts, strict=True) if _SHORT[0] <= tokens <= _SHORT[1]]
    world = World({}, ())
    long = [
        Prompt((surrounded(prompt, draw, world, tokens=_LONG_TOKENS) or "",))
        for prompt in shuffled[: max(1, count // 10)]
    ]
    found = []
    for kind, chosen in (("short", (short or shuffled)[: count + _WARM_UP]), ("long", long)):
        queue = EncoderQueue(encoder, max_tokens=1_000_000, batch_tokens=4_096)
        queue.start()
        try:
            found.append(await _verdicts(kind, chosen, queue, encoder, make, done))
        finally:
            queue.close()
    return found


async def _verdicts(
    kind: str,
    prompts: Sequence[Prompt],
    queue: EncoderQueue,
    encoder: TextEncoder,
    make: Make,
    done: Callable[[int], None],
) -> Latency:
    stages: defaultdict[str, list[float]] = defaultdict(list)
    detector = make(queue, lambda stage, spent: stages[stage].append(1_000.0 * spent))
    warm_up = min(_WARM_UP, len(prompts) - 1)
    for place, prompt in enumerate(prompts):
        if place == warm_up:
            stages.clear()
        started = time.perf_counter()
        await detector.detect(segments(prompt))
        stages["verdict"].append(1_000.0 * (time.perf_counter() - started))
        done(1)
    tokens = [
        sum(encoder.token_counts([prompt.text[window.start : window.end] for window in encoder.windows(prompt.text)]))
        for prompt in prompts[warm_up:]
    ]
    return Latency(kind, sum(tokens) / len(tokens), dict(stages))


async def learning(
    encoder: TextEncoder, sources: Sequence[Source], calibration: Calibration, rates: Rates
) -> dict[str, Any]:
    """Seconds to compile the request with the most examples and to apply its scope, nothing remembered."""
    source = max(sources, key=lambda one: len(one.examples))
    queue = EncoderQueue(encoder, max_tokens=1_000_000, batch_tokens=4_096)
    queue.start()
    try:
        started = time.perf_counter()
        make_detector([await compiled(source, queue, calibration, rates)], queue, calibration)
        return {"examples": len(source.examples), "seconds": time.perf_counter() - started}
    finally:
        queue.close()
