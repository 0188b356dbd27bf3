"""NPO without a reference model (Fan et al., 2024, "Simplicity prevails")."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch.nn.functional import logsigmoid

from offline.adapter.answers import given
from offline.adapter.losses import LOSSES
from offline.adapter.losses.base import ForgetLoss

if TYPE_CHECKING:
    from torch import Tensor

    from offline.adapter.answers import ForgetBatch


@LOSSES.register("simnpo")
@dataclass(frozen=True, slots=True, kw_only=True)
class SimNpo(ForgetLoss):
    """-(2 / beta) log sigmoid(beta (NLL / length - delta)), the mean over the batch."""

    learning_rate: ClassVar[float] = 2e-4
    positive: ClassVar[tuple[str, ...]] = ("beta",)

    weights: tuple[float, float] = (0.125, 1.0)
    beta: float = 4.5
    delta: float = 0.0
    """Nats per token from which on an answer pulls little."""

    def __post_init__(self) -> None:
        ForgetLoss.__post_init__(self)
        if not math.isfinite(self.delta):
            raise ValueError(f"delta must be finite, not {self.delta}")

    def __call__(self, batch: ForgetBatch) -> Tensor:
        answers = given(batch.original, "the original answers")
        per_token = -answers.log_probs() / answers.lengths
        return -2.0 / self.beta * logsigmoid(self.beta * (per_token - self.delta)).mean()
