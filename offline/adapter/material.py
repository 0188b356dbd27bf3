"""Examples made ready for a loss: encoded, split, and scored by the model as it was."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from offline.adapter.examples import encode
from offline.adapter.forward import log_probs
from offline.adapter.lessons import Lessons, Scored, Subject, held_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from offline.adapter.examples import Encoded, Example
    from offline.adapter.losses.base import ForgetLoss
    from offline.adapter.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Material:
    """All that a training looks at."""

    subjects: tuple[Subject, ...]
    retain: tuple[Encoded, ...]
    """To train on; empty for a loss without a retain term."""
    held_out: tuple[Encoded, ...]
    """To measure on."""

    def lessons(self, seed: int) -> Lessons:
        """In the order that the seed gives."""
        return Lessons(self.subjects, self.retain, seed=seed)


def check(loss: ForgetLoss, forget: Sequence[Example], retain: Sequence[Example]) -> None:
    """See that there is what a loss needs.

    Raises:
        ValueError: something is missing. The message counts examples from 0 and holds none of their text.
    """
    if not forget:
        raise ValueError("there are no forget examples")
    if loss.weights[1] > 0 and not retain:
        raise ValueError("this loss has a retain term, and there are no retain examples")
    if loss.needs.alternatives is not None:
        for number, example in enumerate(forget):
            if not example.alternatives:
                raise ValueError(f"forget example {number} has no alternative answers, which this loss needs")


def prepare(tokenizer: Any, recipe: Recipe, forget: Sequence[Example], retain: Sequence[Example]) -> Material:
    """Encode what the recipe's loss looks at, and hold out part of the retain set.

    Raises:
        ValueError: an example is empty or too long; says which.
    """
    loss = recipe.method()
    needs = loss.needs

    def encoded(part: str, number: int, prompt: str, answer: str) -> Encoded:
        try:
            return encode(tokenizer, prompt, answer, limit=recipe.length)
        except ValueError as error:
            raise ValueError(f"{part} example {number}: {error}") from None

    subjects = tuple(
        Subject(
            Scored(encoded("forget", number, example.prompt, example.answer)) if needs.original else None,
            tuple(
                Scored(encoded("forget", number, example.prompt, other))
                for other in (example.alternatives if needs.alternatives is not None else ())
            ),
        )
        for number, example in enumerate(forget)
    )
    kept, measured = held_out(
        [encoded("retain", number, example.prompt, example.answer) for number, example in enumerate(retain)],
        seed=recipe.seed,
    )
    return Material(subjects, tuple(kept) if loss.weights[1] > 0 else (), tuple(measured))


def scored(model: Any, material: Material, *, size: int) -> Material:
    """The same with every answer's log-probability under the model as it is, once for the whole training."""
    answers = [one for subject in material.subjects for one in (subject.original, *subject.alternatives) if one]
    found = iter(log_probs(model, [one.pair for one in answers], size=size).tolist())
    subjects = tuple(
        Subject(
            subject.original and replace(subject.original, reference=next(found)),
            tuple(replace(one, reference=next(found)) for one in subject.alternatives),
        )
        for subject in material.subjects
    )
    return replace(material, subjects=subjects)
