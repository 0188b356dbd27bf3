"""Direct preference optimisation (Rafailov et al., NeurIPS 2023, equation 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch.nn.functional import logsigmoid

from offline.adapter.answers import given
from offline.adapter.losses.base import ForgetLoss

if TYPE_CHECKING:
    from torch import Tensor

    from offline.adapter.answers import ForgetBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference(ForgetLoss):
    """An alternative answer is preferred over the original, the mean over the batch.

    -log sigmoid(beta ((log p - log p_ref)(alternative) - (log p - log p_ref)(original))). Some implementations
    multiply this by 2 / beta, as NPO does; ``weights`` serves for that.
    """

    positive: ClassVar[tuple[str, ...]] = ("beta",)

    beta: float = 0.1

    def __call__(self, batch: ForgetBatch) -> Tensor:
        preferred = given(batch.alternative, "alternative answers").log_ratios()
        original = given(batch.original, "the original answers").log_ratios()
        return -logsigmoid(self.beta * (preferred - original)).mean()
