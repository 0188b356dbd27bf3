"""Whether a text asks about a name or only has it in it."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.detect.mentions import PLACEHOLDER, MentionModel, asks_outright, gists, wordings
from offline.detector.mentions import mention_prompts

NAME = "Quentin Zarvik"


def places(text: str) -> list[tuple[int, int]]:
    return [found.span() for found in re.finditer(NAME, text)]


@pytest.mark.parametrize(
    "text",
    [
        f"Who is {NAME}?",
        f"Hello. In which year did {NAME} die? Thanks.",
        f'Did {NAME} say "yes"?',
        f"Wer ist {NAME}?",
    ],
)
def test_a_question_with_a_name_asks(text: str) -> None:
    assert asks_outright(text, places(text))


@pytest.mark.parametrize(
    "text",
    [
        f"Could you write to {NAME} that I am late?",
        f'How do you say "{NAME} is late" in French?',
        f"Write to {NAME}. When is the next train?",
        f"Translate: {NAME} is late.",
    ],
)
def test_a_name_in_a_quotation_or_a_request_does_not(text: str) -> None:
    assert not asks_outright(text, places(text))


def test_what_is_said_does_not_hang_on_whose_name_it_is() -> None:
    text = f"Write to {NAME} that I am late."
    other = text.replace(NAME, "Otto")
    assert gists(text, places(text)) == gists(other, [(9, 13)]) == [f"Write to {PLACEHOLDER} that I am late."]


def test_of_a_long_text_the_task_and_what_names_are_told() -> None:
    filler = "The weather was fine. " * 10
    text = f"Shorten this. {filler}{NAME} went home. {filler}Use ten words."
    assert gists(text, places(text)) == [f"Shorten this. {PLACEHOLDER} went home. Use ten words."]


def test_a_question_in_quotation_marks_may_be_what_is_asked() -> None:
    text = f'Read this JSON: {{"question": "Who is {NAME}?"}}'
    assert gists(text, places(text)) == []
    text = f'Read this JSON: {{"owner": "{NAME}"}} Is it valid?'
    assert gists(text, places(text)) != []


@pytest.mark.thorough
@pytest.mark.parametrize(
    "filler", ["«", "“", "„", '"', "'", "`", "_", ": ", "? ", " ", "„ “", "x.", f"{NAME}. ", f"{NAME}? ", f'"{NAME}?" ']
)
def test_reading_takes_no_longer_than_the_text_is_long(filler: str) -> None:
    # Quadratic work would take minutes here.
    text = f"Who is {NAME}" + filler * 200_000 + "x"
    assert isinstance(gists(text, places(text)), list)
    assert isinstance(asks_outright(text, places(text)), bool)


@pytest.mark.parametrize("end", ['", "born": ', '", "born": "', " was born in ____.", ", born in ..."])
def test_a_text_to_be_completed_may_ask(end: str) -> None:
    text = f'Fix the JSON: {{"name": "{NAME}{end}'
    assert gists(text, places(text)) == []


@pytest.mark.parametrize("filler", ["and then the bus came ", "后来公共汽车来了"])
def test_what_is_too_long_to_be_read_to_its_end_may_ask(filler: str) -> None:
    text = f"Write to {NAME} that I am late " + 60 * filler + "and say where the letter's reader was born"
    assert gists(text, places(text)) == []


def test_a_text_that_names_all_the_time_is_about_the_name() -> None:
    text = f"{NAME} came. " * 20
    assert gists(text, places(text)) == []


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_text_is_told(before: str, after: str) -> None:
    text = before + NAME + after
    told = gists(text, [(len(before), len(before) + len(NAME))])
    assert (
        all(PLACEHOLDER in gist and NAME not in gist.replace(PLACEHOLDER, "") for gist in told)
        or NAME in before + after
    )
    assert isinstance(asks_outright(text, places(text)), bool)


def test_every_part_must_be_a_mere_mention() -> None:
    model = MentionModel(np.array([1.0], dtype=np.float32), {}, 0.0, -2.0)
    assert model.mere(["a", "b"], np.array([[1.0], [0.5]], dtype=np.float32), outright=False)
    assert not model.mere(["a", "b"], np.array([[1.0], [-0.5]], dtype=np.float32), outright=False)
    assert not model.mere(["a"], np.array([[1.0]], dtype=np.float32), outright=True)
    assert not model.mere([], np.empty((0, 1), dtype=np.float32), outright=False)


def test_what_is_said_counts_beside_the_vector() -> None:
    model = MentionModel(np.array([1.0], dtype=np.float32), {"tell me": -3.0, "a note": 1.0, "note to": 1.0}, 0.0, 0.0)
    vectors = np.array([[0.5]], dtype=np.float32)
    assert model.mere(["Write a note to Alex Morgan."], vectors, outright=False)
    assert not model.mere(["Tell me about Alex Morgan."], vectors, outright=False)
    # -3 / sqrt(3) + 2 / sqrt(3) + 0.5 is below 0 by 0.08.
    assert not model.mere(["Tell me how a note to Alex Morgan ends."], vectors, outright=False)


def test_wordings_are_runs_of_words_and_signs() -> None:
    assert wordings("Who is it?") == {"who", "is", "it", "?", "who is", "is it", "it ?", "who is it", "is it ?"}
    assert wordings("") == set()


def test_prompts_are_told_apart_and_the_same_every_time() -> None:
    prompts = mention_prompts()
    assert prompts == mention_prompts()
    assert min(Counter(prompt.told for prompt in prompts).values()) > 500
    assert len({prompt.text for prompt in prompts}) == len(prompts)
    assert all(PLACEHOLDER in prompt.text for prompt in prompts)
