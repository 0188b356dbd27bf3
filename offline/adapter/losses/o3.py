"""Relabelling for orthogonal adapters (O3: Gao et al., ICLR 2025)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from offline.adapter.answers import IGNORED, Answers, given
from offline.adapter.losses import LOSSES
from offline.adapter.losses.base import ForgetLoss, Needs

if TYPE_CHECKING:
    from torch import Tensor

    from offline.adapter.answers import ForgetBatch


@LOSSES.register("o3")
@dataclass(frozen=True, slots=True, kw_only=True)
class O3(ForgetLoss):
    """Cross-entropy towards other labels, per token. The term that keeps requests apart is the trainer's.

    ``labels="refusal"``: an alternative answer. ``labels="random"``: tokens drawn anew in each step, evenly from the
    vocabulary, in the original's places. The method uses no retain data.
    """

    learning_rate: ClassVar[float] = 3e-4

    weights: tuple[float, float] = (1.0, 0.0)
    labels: Literal["refusal", "random"] = "refusal"

    def __post_init__(self) -> None:
        ForgetLoss.__post_init__(self)
        if self.labels not in {"refusal", "random"}:
            raise ValueError(f"labels must be refusal or random, not {self.labels!r}")

    @property
    def needs(self) -> Needs:
        return Needs() if self.labels == "random" else Needs(original=False, alternatives="idk")

    def __call__(self, batch: ForgetBatch) -> Tensor:
        if self.labels == "refusal":
            return given(batch.alternative, "alternative answers").nll()
        answers = given(batch.original, "the original answers")
        drawn = torch.randint_like(answers.labels, answers.logits.shape[-1])
        return Answers(answers.logits, drawn.where(answers.mask, IGNORED)).nll()
