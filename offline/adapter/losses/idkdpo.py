"""DPO towards "I don't know": the alternatives of TOFU's preference baseline (Maini et al., COLM 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from offline.adapter.losses import LOSSES
from offline.adapter.losses.base import Needs
from offline.adapter.losses.preference import Preference


@LOSSES.register("idkdpo")
@dataclass(frozen=True, slots=True, kw_only=True)
class IdkDpo(Preference):
    """Answers that one does not know are preferred."""

    learning_rate: ClassVar[float] = 2e-4

    @property
    def needs(self) -> Needs:
        return Needs(alternatives="idk", reference=True)
