"""Normalised gradient difference with a learning rate of its own (Bu et al., NAACL 2025)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from offline.adapter.answers import given
from offline.adapter.losses import LOSSES
from offline.adapter.losses.base import ForgetLoss, Needs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from offline.adapter.answers import ForgetBatch


@LOSSES.register("ngdiff")
@dataclass(frozen=True, slots=True, kw_only=True)
class NgDiff(ForgetLoss):
    """Goes against g_R / |g_R| - g_F / |g_F|, both gradients of NLL, each unit vector times its weight.

    The learning rate follows the retain loss along the step that the optimiser just took (GeN: Bu and Xu, ICLR 2025,
    with AdamW below): a parabola through three losses, and its vertex is where the step should have ended.
    ``most`` bounds one change; three losses on one batch are not worth more trust.
    """

    positive: ClassVar[tuple[str, ...]] = ("every",)

    every: int = 10
    """Optimiser steps from one fit to the next."""
    most: float = 2.0
    """A fit changes the learning rate at most by this factor, above 1."""

    def __post_init__(self) -> None:
        ForgetLoss.__post_init__(self)
        if not (math.isfinite(self.most) and self.most > 1):
            raise ValueError(f"most must be above 1, not {self.most}")
        if self.weights[1] == 0:
            raise ValueError("weights must leave something to the retain term: it sets the learning rate")

    @property
    def needs(self) -> Needs:
        return Needs(search_every=self.every)

    def __call__(self, batch: ForgetBatch) -> Tensor:
        return given(batch.original, "the original answers").nll()

    def gradients(self, forget: Tensor, retain: Tensor | None, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
        wanted = torch.autograd.grad(given(retain, "a retain set"), parameters, materialize_grads=True)
        unwanted = torch.autograd.grad(forget, parameters, materialize_grads=True)
        return combine(unwanted, wanted, self.weights)

    def stretch(self, behind: float, here: float, ahead: float) -> float:
        best = vertex(behind, here, ahead)
        return 1.0 if best is None else min(max(best, 1.0 / self.most), self.most)


def combine(
    forget: Sequence[Tensor], retain: Sequence[Tensor], weights: tuple[float, float] = (1.0, 1.0)
) -> tuple[Tensor, ...]:
    """weights[1] g_R / |g_R| - weights[0] g_F / |g_F|, with Euclidean norms over all parameters together.

    A gradient of 0 adds nothing.
    """
    against = weights[0] / _norm(forget)
    along = weights[1] / _norm(retain)
    return tuple(along * one - against * other for one, other in zip(retain, forget, strict=True))


def vertex(behind: float, here: float, ahead: float) -> float | None:
    """Where the parabola through (-1, behind), (0, here) and (1, ahead) is lowest.

    None where it has no lowest point: it is flat or not convex, or a loss is not finite.
    """
    curvature = behind + ahead - 2.0 * here
    if not (math.isfinite(curvature) and curvature > 0):
        return None
    return (behind - ahead) / (2.0 * curvature)


def _norm(gradients: Sequence[Tensor]) -> float:
    norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
    return norm or math.inf
