"""Representation misdirection for unlearning (WMDP: Li et al., ICML 2024, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch.nn.functional import normalize

from offline.adapter.answers import given
from offline.adapter.losses import LOSSES
from offline.adapter.losses.base import ForgetLoss, Needs

if TYPE_CHECKING:
    from torch import Tensor

    from offline.adapter.answers import ForgetBatch


@LOSSES.register("rmu")
@dataclass(frozen=True, slots=True, kw_only=True)
class Rmu(ForgetLoss):
    """Mean over answer tokens of the mean squared error between a layer's hidden state and ``coefficient`` times u.

    u is a fixed random unit vector, uniform on [0, 1) in each dimension before it is scaled, as in the authors'
    code. The retain term is one of ours: theirs, on hidden states, would need a forward pass of its own.
    """

    learning_rate: ClassVar[float] = 2e-4
    positive: ClassVar[tuple[str, ...]] = ("coefficient",)

    layer: int = 7
    """Counted from 0."""
    coefficient: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        ForgetLoss.__post_init__(self)
        if self.layer < 0:
            raise ValueError(f"layer must be 0 or more, not {self.layer}")

    @property
    def needs(self) -> Needs:
        return Needs(layer=self.layer)

    def direction(self, size: int) -> Tensor:
        """float32 [size], of length 1: the same for the same seed."""
        return normalize(torch.rand(size, generator=torch.Generator().manual_seed(self.seed)), dim=0)

    def __call__(self, batch: ForgetBatch) -> Tensor:
        answers = given(batch.original, "the original answers")
        hidden = given(answers.hidden, "hidden states")
        target = self.coefficient * self.direction(hidden.shape[-1]).to(hidden.device)
        return answers.mean((hidden - target).square().mean(-1))
