"""Whatever is evaluated: something that says of prompts how surely they are in scope."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from offline.evaluation.prompts import Prompt

_BATCH = 128


@dataclass(frozen=True, slots=True)
class Judged:
    """What a contestant makes of n prompts."""

    scores: NDArray[np.float64]
    """[n]: higher is more surely in scope."""
    acted: Mapping[str, NDArray[np.bool_]]
    """By each of its own thresholds: [n], whether the prompt reaches it."""
    subjects: tuple[str, ...] = field(default=())
    """[n], the subject that it takes the prompt to be about; empty if it does not tell."""


class Contestant(Protocol):
    """A detector, ours or a baseline."""

    @property
    def name(self) -> str: ...

    @property
    def note(self) -> str:
        """How it was made, in a sentence or two."""
        ...

    async def judge(self, prompts: Sequence[Prompt]) -> Judged: ...


async def judge_all(contestant: Contestant, prompts: Sequence[Prompt], done: Callable[[int], None]) -> Judged:
    """Judge prompts in batches; ``done`` is told how many each time. There has to be a prompt."""
    parts = []
    for start in range(0, len(prompts), _BATCH):
        batch = prompts[start : start + _BATCH]
        parts.append(await contestant.judge(batch))
        done(len(batch))
    return Judged(
        np.concatenate([part.scores for part in parts]),
        {name: np.concatenate([part.acted[name] for part in parts]) for name in parts[0].acted},
        tuple(subject for part in parts for subject in part.subjects),
    )
