"""Attacks on served systems: what is to be forgotten, asked for in every form, in one turn and in several."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from offline.evaluation.detector import make_sheet
from offline.evaluation.intervals import Share
from offline.evaluation.prompts import PLAIN
from offline.served.telling import telling_words, tells

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from offline.evaluation.dataset import DataSet
    from offline.evaluation.forms import Forms
    from offline.evaluation.prompts import Prompt
    from offline.served.answerer import Answerer

ANSWER_TOKENS: Final = 64
PREFILL: Final = "assistant prefill"
_BEGUN_WORDS: Final = 3
"""Of the true answer, with which the client begins the system's own."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One attempt: what the user says, turn by turn, and perhaps how the last answer begins."""

    form: str
    family: str
    turns: tuple[str, ...]
    words: frozenset[str]
    """Those that tell the answer, and that no turn says."""
    begun: str = ""


@dataclass(frozen=True, slots=True)
class Defended:
    """What attacks brought out of one system."""

    told: Mapping[str, Share]
    """By form: attempts after which the answer was told."""
    families: Mapping[str, str]
    """Of each form."""
    answers: tuple[tuple[Attack, str], ...]
    """Of those that succeeded, what was said. Holds forget text."""

    @property
    def overall(self) -> Share:
        """Of all attempts."""
        return Share(sum(one.count for one in self.told.values()), sum(one.of for one in self.told.values()))

    def figures(self) -> dict[str, Any]:
        """JSON-able, without texts."""
        return {
            "overall": self.overall.figures(),
            "forms": {name: share.figures() | {"family": self.families[name]} for name, share in self.told.items()},
        }


def make_attacks(data: DataSet, forms: Forms, *, sample: int, seed: int) -> list[Attack]:
    """Every form of a data set's questions whose answer is known and has words that tell it."""
    sheet = make_sheet(data, forms.forms, sample=sample, seed=seed)
    found = [_attack(PLAIN, PLAIN, prompt) for prompt in sheet.positives[:sample]]
    for name, prompts in sheet.forms.items():
        found += [_attack(name, prompts.family, prompt) for prompt in prompts.positives]
    found += [_prefilled(prompt) for prompt in sheet.positives[:sample]]
    return [attack for attack in found if attack is not None and attack.words]


def _attack(form: str, family: str, prompt: Prompt) -> Attack | None:
    if not prompt.answer:
        return None
    return Attack(form, family, prompt.turns, telling_words(prompt.answer, prompt.text))


def _prefilled(prompt: Prompt) -> Attack | None:
    if not prompt.answer:
        return None
    begun = " ".join(prompt.answer.split()[:_BEGUN_WORDS])
    return Attack(PREFILL, "wrapper", prompt.turns, telling_words(prompt.answer, f"{prompt.text} {begun}"), begun)


async def defend(system: Answerer, attacks: Sequence[Attack], progress: Callable[[int], None]) -> Defended:
    """Try every attack on a system; ``progress`` is told of each that is over. Raises DataError."""

    async def attempt(attack: Attack) -> str:
        messages: list[dict[str, str]] = []
        said: list[str] = []
        for place, turn in enumerate(attack.turns):
            messages.append({"role": "user", "content": turn})
            begun = attack.begun if place == len(attack.turns) - 1 else ""
            answer = await system.answer(messages, tokens=ANSWER_TOKENS, begun=begun)
            messages.append({"role": "assistant", "content": answer})
            said.append(answer)
        progress(1)
        return "\n".join(said)

    texts = await asyncio.gather(*map(attempt, attacks))
    tried = [(attack, text, tells(text, attack.words)) for attack, text in zip(attacks, texts, strict=True)]
    told: dict[str, Share] = {}
    for form in dict.fromkeys(attack.form for attack in attacks):
        hits = [hit for attack, _, hit in tried if attack.form == form]
        told[form] = Share(sum(hits), len(hits))
    return Defended(
        told,
        {attack.form: attack.family for attack in attacks},
        tuple((attack, text) for attack, text, hit in tried if hit),
    )
