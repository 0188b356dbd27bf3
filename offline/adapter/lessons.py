"""What each training step sees: a forget batch and a retain batch of the same size, drawn by the seed alone."""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.utils.data import Dataset

from offline.adapter.examples import collate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from offline.adapter.examples import Batch, Encoded

_HELD_OUT = 0.1


@dataclass(frozen=True, slots=True)
class Scored:
    """An answer with its reference log-probability in nats; None where no loss looks at it."""

    pair: Encoded
    reference: float | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """One question of the forget set: what of it a loss looks at."""

    original: Scored | None
    alternatives: tuple[Scored, ...] = ()


@dataclass(frozen=True, slots=True)
class Lesson:
    """One row of a step."""

    original: Scored | None
    alternative: Scored | None
    retain: Encoded | None


@dataclass(frozen=True, slots=True)
class Step:
    """Batches of one step, None for what no loss looks at; references are float32 [n]."""

    original: Batch | None
    original_reference: Tensor | None
    alternative: Batch | None
    alternative_reference: Tensor | None
    retain: Batch | None

    def to(self, device: torch.device | str) -> Step:
        """The same on another device."""
        parts = (getattr(self, name) for name in self.__slots__)
        return Step(*(None if part is None else part.to(device) for part in parts))


class Lessons(Dataset[Lesson]):
    """An epoch of lessons: each subject once in a new order, with the next of its alternatives and of the retain set.

    What an epoch holds depends on its number and the seed only, so a run that goes on sees what it would have seen.
    """

    def __init__(self, subjects: Sequence[Subject], retain: Sequence[Encoded], *, seed: int) -> None:
        self._subjects = subjects
        self._retain = retain
        self._seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch, counted from 0. `transformers.Trainer` calls this by its name."""
        self._epoch = epoch
        self._order = _shuffled(len(self._subjects), f"{self._seed}:{epoch}")

    def __len__(self) -> int:
        return len(self._subjects)

    def __getitem__(self, index: int) -> Lesson:
        subject = self._subjects[self._order[index]]
        others = subject.alternatives
        alternative = others[self._epoch % len(others)] if others else None
        return Lesson(subject.original, alternative, self._kept(self._epoch * len(self) + index))

    def _kept(self, number: int) -> Encoded | None:
        # The retain set goes round on its own, so that all of a large one is seen; shuffled for each round.
        if not self._retain:
            return None
        turn, place = divmod(number, len(self._retain))
        return self._retain[_shuffled(len(self._retain), f"{self._seed}:retain:{turn}")[place]]


def lay_out(lessons: Sequence[Lesson]) -> Step:
    """Lay lessons out as the batches of one step."""
    retain = [lesson.retain for lesson in lessons if lesson.retain is not None]
    return Step(
        *_laid_out([lesson.original for lesson in lessons]),
        *_laid_out([lesson.alternative for lesson in lessons]),
        collate(retain) if retain else None,
    )


def held_out(retain: Sequence[Encoded], *, seed: int) -> tuple[list[Encoded], list[Encoded]]:
    """Split the retain set: what to train on, and one in ten, at least one, to measure on. One alone is trained on."""
    shuffled = [retain[index] for index in _shuffled(len(retain), f"{seed}:held-out")]
    count = max(1, round(_HELD_OUT * len(shuffled))) if len(shuffled) > 1 else 0
    return shuffled[count:], shuffled[:count]


@functools.lru_cache(maxsize=8)
def _shuffled(count: int, seed: str) -> list[int]:
    return random.Random(seed).sample(range(count), count)  # noqa: S311 - no secret


def _laid_out(scored: Sequence[Scored | None]) -> tuple[Batch | None, Tensor | None]:
    there = [one for one in scored if one is not None]
    if not there:
        return None, None
    references = [one.reference for one in there if one.reference is not None]
    return collate([one.pair for one in there]), torch.tensor(references) if references else None
