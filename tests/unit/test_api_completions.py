from __future__ import annotations

from typing import Any

import pytest

from guards.act.decline import Form
from guards.plan import Role, Segment
from server.api.completions import Completions
from server.api.endpoint import Limits
from server.errors import BadRequest

COMPLETIONS = Completions(Limits(max_messages=3))


@pytest.mark.parametrize("prompt", ["a", ["a", "b"], [1, 2, 3], [[1, 2], [3]]])
def test_a_prompt_may_be_text_or_tokens_one_or_several(prompt: Any) -> None:
    COMPLETIONS.check({"model": "m", "prompt": prompt})


@pytest.mark.parametrize(
    "prompt",
    [None, "", [], {}, 1, True, ["a", 1], [1, "a"], [[1], "a"], [1, [1]], [[]], [[1], []], [-1], [True], [1.5]],
)
def test_a_prompt_of_any_other_form_is_named(prompt: Any) -> None:
    with pytest.raises(BadRequest) as refusal:
        COMPLETIONS.check({"model": "m", "prompt": prompt})
    assert refusal.value.param == "prompt"


def test_the_number_of_prompts_is_bounded_and_that_of_tokens_is_not() -> None:
    COMPLETIONS.check({"prompt": list(range(1000))})
    with pytest.raises(BadRequest):
        COMPLETIONS.check({"prompt": ["a"] * 4})
    with pytest.raises(BadRequest):
        COMPLETIONS.check({"prompt": [[1]] * 4})


def test_every_prompt_and_a_suffix_ask() -> None:
    assert COMPLETIONS.read({"prompt": ["a", "b"], "suffix": "c"}) == [
        Segment(("prompt", 0), "a", Role.ASKS),
        Segment(("prompt", 1), "b", Role.ASKS),
        Segment(("suffix",), "c", Role.ASKS),
    ]
    assert COMPLETIONS.read({"prompt": "a"}) == [Segment(("prompt",), "a", Role.ASKS)]


def test_tokens_are_read_by_their_text() -> None:
    body = {"prompt": [[1, 2], [3]]}
    assert COMPLETIONS.token_prompts(body) == {("prompt", 0): [1, 2], ("prompt", 1): [3]}
    decoded = {("prompt", 0): "one two", ("prompt", 1): "three"}
    assert [one.text for one in COMPLETIONS.read(body, decoded)] == ["one two", "three"]
    assert COMPLETIONS.token_prompts({"prompt": [1, 2]}) == {("prompt",): [1, 2]}
    assert COMPLETIONS.token_prompts({"prompt": "a"}) == {}


def test_each_prompt_is_tokenised_by_itself() -> None:
    body = {"model": "m", "prompt": ["a", "b"], "add_special_tokens": False, "temperature": 1}
    assert COMPLETIONS.prompts(body) == [
        {"model": "m", "add_special_tokens": False, "prompt": "a"},
        {"model": "m", "add_special_tokens": False, "prompt": "b"},
    ]
    assert COMPLETIONS.prompts({"prompt": [1, 2]}) == [[1, 2]]
    assert COMPLETIONS.form(body, ("prompt", 0)) is Form.COMPLETION


def test_the_default_length_is_openais() -> None:
    assert COMPLETIONS.max_output({"prompt": "a"}) == 16
    assert COMPLETIONS.limit_output({"max_tokens": 9}, 20) == {"max_tokens": 9}
    assert COMPLETIONS.limit_output({"max_tokens": 90}, 20) == {"max_tokens": 20}
