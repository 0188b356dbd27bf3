"""Plain fine-tuning: what is trained to be known, as when making a benchmark's target and retain models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from offline.adapter.answers import given
from offline.adapter.losses import LOSSES
from offline.adapter.losses.base import ForgetLoss

if TYPE_CHECKING:
    from torch import Tensor

    from offline.adapter.answers import ForgetBatch


@LOSSES.register("memorise")
@dataclass(frozen=True, slots=True, kw_only=True)
class Memorise(ForgetLoss):
    """NLL, per token, of what stands in the forget set's place."""

    learning_rate: ClassVar[float] = 3e-4
    withholds: ClassVar[bool] = False

    weights: tuple[float, float] = (1.0, 0.0)

    def __call__(self, batch: ForgetBatch) -> Tensor:
        return given(batch.original, "the original answers").nll()
