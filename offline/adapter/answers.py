"""What a model says of given answers: the tensors that losses are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from torch.nn.functional import cross_entropy

if TYPE_CHECKING:
    from torch import Tensor

IGNORED: Final = -100
"""The label of what is not an answer token: what `cross_entropy` leaves out."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Answers:
    """n answers, teacher-forced, with t tokens at most, over a vocabulary of v."""

    logits: Tensor
    """float32 [n, t, v]. ``logits[:, i]`` predict ``labels[:, i]``."""
    labels: Tensor
    """int64 [n, t], ``IGNORED`` where there is no answer token."""
    hidden: Tensor | None = None
    """float32 [n, t, h], at one layer, where ``logits`` are made; None where no loss looks at them."""
    reference: Tensor | None = None
    """float32 [n]: ``log_probs()`` under the model without the adapter; None where no loss looks at them."""

    @property
    def mask(self) -> Tensor:
        """Bool [n, t]: where there is an answer token."""
        return self.labels != IGNORED

    @property
    def lengths(self) -> Tensor:
        """int64 [n]: answer tokens."""
        return self.mask.sum(1)

    def token_log_probs(self) -> Tensor:
        """float32 [n, t]: log p(y_i | what is before it), in nats; 0 where there is no answer token."""
        losses = cross_entropy(self.logits.flatten(0, 1), self.labels.flatten(), ignore_index=IGNORED, reduction="none")
        return -losses.view_as(self.labels)

    def log_probs(self) -> Tensor:
        """float32 [n]: log p(y | x), the sum over the answer's tokens."""
        return self.token_log_probs().sum(1)

    def log_ratios(self) -> Tensor:
        """float32 [n]: log p(y | x) - log p_ref(y | x).

        Raises:
            ValueError: the reference log-probabilities were not given.
        """
        return self.log_probs() - given(self.reference, "reference log-probabilities")

    def nll(self) -> Tensor:
        """Scalar: the mean over all answer tokens of -log p, in nats."""
        return self.mean(-self.token_log_probs())

    def mean(self, values: Tensor) -> Tensor:
        """Scalar: the mean of [n, t] over answer tokens only."""
        return values.where(self.mask, 0.0).sum() / self.mask.sum()


@dataclass(frozen=True, slots=True)
class ForgetBatch:
    """What a step sees of the forget set. Row i of both is about the same question; None is what no loss asked for."""

    original: Answers | None = None
    alternative: Answers | None = None


def given(value: Value | None, what: str) -> Value:
    """What a loss cannot do without.

    Raises:
        ValueError: it is None.
    """
    if value is None:
        raise ValueError(f"this loss needs {what}")
    return value
