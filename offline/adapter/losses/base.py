"""What a loss is to whoever trains with it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from offline.adapter.answers import ForgetBatch

Alternatives: TypeAlias = Literal["idk", "plausible"]
"""Answers to put in the place of the original ones: that one does not know, or something wrong but plausible."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a loss looks at, so that nothing else is computed."""

    original: bool = True
    """The answers to withhold."""
    alternatives: Alternatives | None = None
    """Other answers to the same questions, and of what kind they should be."""
    reference: bool = False
    """Summed log-probabilities of both under the model without the adapter."""
    layer: int | None = None
    """Hidden states that leave this layer, counted from 0."""
    search_every: int | None = None
    """The loss sets its own learning rate, with `stretch`, after each so many optimiser steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetLoss(ABC):
    """L = weights[0] L_forget + weights[1] L_retain. A subclass is L_forget; its fields are its hyperparameters.

    Raises:
        ValueError: a weight is negative or not finite, or a field named in ``positive`` is not above 0.
    """

    learning_rate: ClassVar[float] = 1e-4
    """AdamW's, for LoRA, where a recipe does not say."""
    positive: ClassVar[tuple[str, ...]] = ()
    withholds: ClassVar[bool] = True
    """Whether it makes answers of the forget set less likely."""

    weights: tuple[float, float] = (1.0, 1.0)
    """Of the forget and of the retain term. Without weight the retain set is not trained on."""

    def __post_init__(self) -> None:
        if len(self.weights) != 2 or not all(math.isfinite(weight) and weight >= 0 for weight in self.weights):
            raise ValueError(f"weights must be two numbers from 0, not {self.weights}")
        for name in self.positive:
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be above 0, not {value}")

    @property
    def needs(self) -> Needs:
        """What must be in a batch."""
        return Needs()

    @abstractmethod
    def __call__(self, batch: ForgetBatch) -> Tensor:
        """L_forget, a scalar.

        Raises:
            ValueError: something is missing from the batch.
        """

    def gradients(self, forget: Tensor, retain: Tensor | None, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The direction to go against, for each parameter: the gradient of the weighted sum, unless overridden."""
        total = self.weights[0] * forget + (0.0 if retain is None else self.weights[1] * retain)
        return torch.autograd.grad(total, parameters, materialize_grads=True)

    def stretch(self, behind: float, here: float, ahead: float) -> float:
        """By what to multiply the learning rate: 1, unless overridden.

        The retain loss in nats one step back from where the last step began, there, and where it led.
        """
        return 1.0
