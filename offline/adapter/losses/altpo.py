"""Alternate preference optimisation (Mekala et al., COLING 2025): wrong but plausible answers are preferred."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from offline.adapter.losses import LOSSES
from offline.adapter.losses.base import Needs
from offline.adapter.losses.preference import Preference


@LOSSES.register("altpo")
@dataclass(frozen=True, slots=True, kw_only=True)
class AltPo(Preference):
    """Of several alternatives each epoch takes the next one: ten epochs with five are the paper's two over each."""

    learning_rate: ClassVar[float] = 5e-5

    @property
    def needs(self) -> Needs:
        return Needs(alternatives="plausible", reference=True)
