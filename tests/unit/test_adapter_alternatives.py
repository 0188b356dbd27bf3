"""Other answers and other questions, from a model that answers as the test says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from offline.adapter.alternatives import paraphrases, plausible, unknown

if TYPE_CHECKING:
    from collections.abc import Callable

PAIRS = [("Where was Kim born?", "In Oslo."), ("When?", "1956")]


class Model:
    """Answers the n-th prompt with what ``says`` makes of n and the prompt."""

    def __init__(self, says: Callable[[int, str], str]) -> None:
        self.says = says
        self.prompts: list[str] = []

    async def __call__(self, prompts: list[str]) -> list[str]:
        self.prompts += prompts
        return [self.says(number, prompt) for number, prompt in enumerate(prompts)]


def test_there_are_many_ways_not_to_know() -> None:
    (all_of_them,) = unknown(1, 60, seed=1)
    assert len(set(all_of_them)) == 60
    assert all(10 <= len(text) <= 100 and text[-1] == "." for text in all_of_them)
    with pytest.raises(ValueError):
        unknown(1, 61, seed=1)


def test_they_are_drawn_by_the_seed_and_differ_by_question() -> None:
    drawn = unknown(3, 5, seed=1)
    assert drawn == unknown(3, 5, seed=1) != unknown(3, 5, seed=2)
    assert len(set(drawn)) == 3
    assert all(len(set(answers)) == 5 for answers in drawn)


async def test_plausible_answers() -> None:
    model = Model(lambda number, _: f'  "In Rome {number}."\nThat is false.')
    found = await plausible(PAIRS, model, 3, seed=1)
    assert found == [("In Rome 0.", "In Rome 1.", "In Rome 2."), ("In Rome 3.", "In Rome 4.", "In Rome 5.")]
    assert len(set(model.prompts)) == 6
    assert sum("Where was Kim born?" in prompt and "In Oslo." in prompt for prompt in model.prompts) == 3


@pytest.mark.parametrize("told", ["In Oslo.", "in ÓSLO", "Born in Oslo, they say.", "", " \n In Rome", '"..."'])
async def test_the_true_answer_and_nothing_are_dropped(told: str) -> None:
    model = Model(lambda number, _: told if number % 3 == 1 else f"In Rome {number}")
    (found, _) = await plausible(PAIRS, model, 3, seed=1)
    assert len(set(found)) == 3
    if "Rome" in told:
        assert found == ("In Rome 0", "In Rome", "In Rome 2")
        return
    assert found[:2] == ("In Rome 0", "In Rome 2")
    assert found[2] in unknown(1, 60, seed=1)[0]


async def test_part_of_a_word_is_no_true_answer() -> None:
    (found,) = await plausible([("Which animal?", "ant")], Model(lambda *_: "elephant"), 1, seed=1)
    assert found == ("elephant",)


async def test_the_same_answer_counts_once() -> None:
    found = await plausible(PAIRS, Model(lambda number, _: ["Rome", "rome!"][number % 2]), 4, seed=1)
    for answers in found:
        assert [answer for answer in answers if "ome" in answer and len(answer) < 6] == ["Rome"]
        assert len(set(answers)) == 4


async def test_paraphrases_are_new() -> None:
    questions = ["Where was Kim born?", "When?"]
    model = Model(lambda number, _: ["where was kim born", "Kim was born where?", "Kim was born where?"][number % 3])
    first, second = await paraphrases(questions, model, 3, seed=1)
    assert first == ("Kim was born where?",)
    assert second == ("where was kim born", "Kim was born where?")
    assert all(question in prompt for prompt, question in zip(model.prompts[::3], questions, strict=True))


async def test_the_seed_draws_the_ways_to_ask() -> None:
    asked = []
    for seed in (1, 1, 2):
        model = Model(lambda *_: "Rome")
        await plausible(PAIRS, model, 2, seed=seed)
        asked.append(model.prompts)
    assert asked[0] == asked[1] != asked[2]
    with pytest.raises(ValueError):
        await plausible(PAIRS, model, 99, seed=1)
