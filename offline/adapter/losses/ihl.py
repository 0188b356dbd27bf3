"""Inverted hinge loss of LoKU (Cha et al., ICLR 2025)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from offline.adapter.answers import IGNORED, given
from offline.adapter.losses import LOSSES
from offline.adapter.losses.base import ForgetLoss

if TYPE_CHECKING:
    from torch import Tensor

    from offline.adapter.answers import ForgetBatch


@LOSSES.register("ihl")
@dataclass(frozen=True, slots=True, kw_only=True)
class Ihl(ForgetLoss):
    """1 + p(y) - max over v != y of p(v), the mean over answer tokens: the runner-up takes the answer's place.

    From 0 to 2, so it does not run away. LoKU's other part, FILA, changes the base weights, and is not here.
    """

    def __call__(self, batch: ForgetBatch) -> Tensor:
        answers = given(batch.original, "the original answers")
        probabilities = answers.logits.softmax(-1)
        labels = answers.labels.where(answers.labels != IGNORED, 0).unsqueeze(-1)
        own = probabilities.gather(-1, labels).squeeze(-1)
        best_other = probabilities.scatter(-1, labels, 0.0).amax(-1)
        return answers.mean(1.0 + own - best_other)
