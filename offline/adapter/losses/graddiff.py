"""Gradient difference: away from the forget set, towards the retain set (Liu et al., CoLLAs 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from offline.adapter.answers import given
from offline.adapter.losses import LOSSES
from offline.adapter.losses.base import ForgetLoss

if TYPE_CHECKING:
    from torch import Tensor

    from offline.adapter.answers import ForgetBatch


@LOSSES.register("graddiff")
@dataclass(frozen=True, slots=True, kw_only=True)
class GradDiff(ForgetLoss):
    """-NLL, per token. It has no lower bound: few steps and a retain term are all that holds it."""

    def __call__(self, batch: ForgetBatch) -> Tensor:
        return -given(batch.original, "the original answers").nll()
