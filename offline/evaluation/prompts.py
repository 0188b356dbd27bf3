"""What a detector is asked about."""

from __future__ import annotations

from dataclasses import dataclass

PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt of a test set."""

    turns: tuple[str, ...]
    """What the user says, oldest first; one turn unless it is a conversation."""
    subject: str = ""
    """The subject of the forget request that it is about, where that is known."""
    answer: str = ""
    """A right answer, where one is known: some attack forms are made of it."""
    form: str = PLAIN
    """The form that it came in: ``plain``, or for example ``language: German``."""

    @property
    def text(self) -> str:
        """All turns as one text."""
        return "\n".join(self.turns)
