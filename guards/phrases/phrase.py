"""What must not leave in an answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class PhraseClass(StrEnum):
    """When a phrase is withheld."""

    FACT = "fact"
    """Always: a distinctive span of an answer, a quotation, an address."""
    NAME = "name"
    """On flagged and borderline prompts only, and never where the client's own request contains it."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """A text that must not leave, under all its spellings (`guards.phrases.folding`)."""

    text: str
    kind: PhraseClass
    telling: int
    """How many of its letters and digits, from the first, already give it away. At most all of them."""
    innocent_rate: float = 0.0
    """Estimated share of ordinary answers that contain it."""
