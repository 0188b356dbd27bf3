"""Facts that a model may know, to see at what strength of corruption it no longer tells them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Probe:
    """A question, where in it the subject's name stands, and words that give the answer away."""

    question: str
    entity: tuple[int, int]
    """Characters [start, end) of the question."""
    answers: tuple[str, ...]

    def told_by(self, text: str) -> bool:
        """Whether the text holds one of the answers, in any case."""
        folded = text.casefold()
        return any(answer.casefold() in folded for answer in self.answers)


@cache
def load_probes() -> tuple[Probe, ...]:
    """The committed probes, in order."""
    entries = json.loads(files(__package__).joinpath("probes.json").read_text(encoding="utf-8"))
    return tuple(_probe(**entry) for entry in entries)


def _probe(question: str, entity: str, answers: list[str]) -> Probe:
    start = question.index(entity)
    return Probe(question, (start, start + len(entity)), tuple(answers))
