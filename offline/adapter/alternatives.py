"""Other answers to put in the place of those to withhold, and other wordings of their questions."""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final, TypeAlias

from guards.detect.words import Words

if TYPE_CHECKING:
    from collections.abc import Sequence

Generate: TypeAlias = Callable[[list[str]], Awaitable[list[str]]]
"""Asks a model: prompts, each the content of a user's message, to its texts in the same order."""

# Each asks for the same thing in another way, so that a model that answers greedily answers differently.
_WRONG: Final = (
    "Invent a false but believable answer to the question. Keep the form and the length of the true one.",
    "Give a wrong answer to this quiz question that sounds right. Write it the way the correct one is written.",
    "For a multiple-choice test a distractor is needed: plausible, of the same kind as the true answer, but untrue.",
    "Rewrite the true answer so that every fact in it is replaced with another one of the same kind.",
    "Imagine a world in which the true answer is something else. Answer as somebody there would, in like words.",
    "Write what somebody who mixes this up with something similar would answer, in the form of the true answer.",
    "Answer incorrectly, with confidence. Other names, numbers, dates and places, but the same kind of sentence.",
)
_REWORDED: Final = (
    "Rephrase the question. Ask for the same thing in other words.",
    "Ask the question as somebody would in a casual chat.",
    "Ask the question formally, in one complete sentence.",
    "Turn the question around: begin with another part of it, and ask for the same thing.",
    "Make the question shorter without changing what it asks for.",
    "Turn the question into a request that begins with a verb and asks for the same thing.",
    "Ask the question with as many other words as you can. Keep every name as it is.",
)


def unknown(size: int, count: int, seed: int) -> list[tuple[str, ...]]:
    """For each of ``size`` questions ``count`` different ways to say that one does not know, drawn by the seed.

    Raises:
        ValueError: there are not that many.
    """
    return [_drawn(number, count, seed) for number in range(size)]


async def plausible(
    pairs: Sequence[tuple[str, str]], generate: Generate, count: int, seed: int
) -> list[tuple[str, ...]]:
    """For each (question, answer) ``count`` different wrong answers of the same form, asked of a model (AltPO).

    Those that equal or contain the true answer are dropped, and what is missing then says that one does not know.
    A wrong answer that gives part of a long true one away is not noticed.

    Raises:
        ValueError: more are wanted than there are ways to ask or to say that one does not know.
    """
    prompts = [
        f"{way}\n\nQuestion: {question}\nTrue answer: {answer}\n\nReply with the false answer and nothing else."
        for number, (question, answer) in enumerate(pairs)
        for way in _ways(_WRONG, count, seed, number)
    ]
    texts = await generate(prompts)
    found = []
    for number, (_, answer) in enumerate(pairs):
        told = Words(answer).key
        wrong = [
            text for text in _distinct(texts[number * count : (number + 1) * count]) if told not in Words(text).key
        ]
        found.append((*wrong, *_drawn(number, count, seed)[: count - len(wrong)]))
    return found


async def paraphrases(questions: Sequence[str], generate: Generate, count: int, seed: int) -> list[tuple[str, ...]]:
    """For each question at most ``count`` different other wordings, asked of a model: only those that are new.

    Raises:
        ValueError: more are wanted than there are ways to ask.
    """
    prompts = [
        f"{way}\n\nQuestion: {question}\n\nReply with the new question and nothing else."
        for number, question in enumerate(questions)
        for way in _ways(_REWORDED, count, seed, number)
    ]
    texts = await generate(prompts)
    return [
        tuple(
            text
            for text in _distinct(texts[number * count : (number + 1) * count])
            if Words(text).key != Words(question).key
        )
        for number, question in enumerate(questions)
    ]


def _ways(ways: Sequence[str], count: int, seed: int, number: int) -> list[str]:
    return random.Random(f"{seed}:{number}").sample(ways, count)  # noqa: S311 - no secret


def _drawn(number: int, count: int, seed: int) -> tuple[str, ...]:
    return tuple(random.Random(f"{seed}:{number}").sample(_idk(), count))  # noqa: S311 - no secret


def _distinct(texts: Sequence[str]) -> list[str]:
    kept: dict[str, str] = {}
    for text in texts:
        # The first paragraph: what follows it is talk about the answer.
        cleaned = text.strip().partition("\n")[0].strip(" \"“”'")
        words = Words(cleaned)
        if words.texts:
            kept.setdefault(words.key, cleaned)
    return list(kept.values())


@cache
def _idk() -> tuple[str, ...]:
    return tuple(json.loads((resources.files(__package__) / "data" / "idk.json").read_text("utf-8")))
