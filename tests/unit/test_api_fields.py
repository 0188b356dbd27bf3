from __future__ import annotations

from math import inf, nan

import pytest
from anthropic.types import message_create_params
from openai.types import completion_create_params
from openai.types.chat import chat_completion_content_part_text_param
from openai.types.chat import completion_create_params as chat_create_params
from openai.types.responses import response_create_params

from server.api import fields as f
from server.api.chat import ChatCompletions
from server.api.completions import Completions
from server.api.endpoint import Limits
from server.api.fields import FieldRules
from server.api.messages import Messages
from server.api.responses import Responses
from server.errors import BadRequest

RULES = FieldRules({"n": f.INTEGER, "stop": f.STRING_OR_STRINGS}, {"echo": f.PROMPT}, extra=("custom", "echo"))


def test_allowed_and_extra_fields_pass() -> None:
    RULES.check({"n": 2, "stop": ["a"], "custom": {"any": "thing"}})


@pytest.mark.parametrize("value", [True, False, None, "", 0, {}, []])
def test_a_refused_field_is_refused_whatever_its_value_and_the_settings(value: object) -> None:
    with pytest.raises(BadRequest) as refusal:
        RULES.check({"echo": value})
    assert refusal.value.param == "echo"


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(BadRequest) as refusal:
        RULES.check({"messages_": 1}, "messages[3].")
    assert refusal.value.param == "messages[3].messages_"


def test_a_name_of_any_length_is_named_in_short() -> None:
    with pytest.raises(BadRequest) as refusal:
        RULES.check({"x" * 100_000: 1})
    assert len(refusal.value.message) < 200


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (f.STRING, ["", "a"], [1, True, [], {}]),
        (f.BOOLEAN, [True, False], ["true", 1, 0, "yes"]),
        (f.INTEGER, [0, -3, 5.0, 2**63 - 1, -(2**63)], [True, 1.5, "5", [], 1e300, -1e300, 2**63, 2.0**63, inf, nan]),
        (f.NUMBER, [0, 1.5], [True, "1.5", []]),
        (f.STRINGS, [[], ["a"]], ["a", [1], {}]),
        (f.INTEGERS, [[1, 2]], [[True], [1.5], "12", 3, [1e300]]),
        (f.STOP_TOKENS, [[], [0, 7.0]], [[-1], [1e300], [2**63], 1]),
        (f.STRING_OR_STRINGS, ["a", ["a"]], [1, [1], {"a": "b"}]),
        (f.SCALARS_BY_NAME, [{"a": 1, "b": "x", "c": None, "d": False}], [{"a": []}, {"a": {}}, []]),
        (f.NUMBERS_BY_NAME, [{"1": -100}], [{"1": "x"}, []]),
        (f.STRING_OBJECTS, [[{"title": "a"}]], [[{"title": 1}], {"title": "a"}, ["a"]]),
    ],
)
def test_types_are_strict(kind: f.Type, good: list[object], bad: list[object]) -> None:
    for value in good:
        assert kind.check(value), value
    for value in bad:
        assert not kind.check(value), value


def test_a_field_cannot_be_both() -> None:
    with pytest.raises(ValueError, match="echo"):
        FieldRules({"echo": f.BOOLEAN}, {"echo": f.PROMPT})


def test_extra_fields_may_stand_in_messages() -> None:
    extra = ("messages.cache_hint", "messages.content.mark", "top")
    rules = FieldRules({"role": f.STRING}, {}, extra=extra, prefix="messages.")
    assert set(rules.allowed) == {"role", "cache_hint"}
    assert FieldRules({}, {}, extra=extra).allowed.keys() == {"top"}


CHAT, COMPLETIONS = ChatCompletions(Limits()), Completions(Limits())
RESPONSES, MESSAGES = Responses(Limits()), Messages(Limits())


@pytest.mark.parametrize(
    ("rules", "documented"),
    [
        (CHAT.rules, chat_create_params.CompletionCreateParamsStreaming),
        (
            CHAT.nested["messages.content"]["text"],
            chat_completion_content_part_text_param.ChatCompletionContentPartTextParam,
        ),
        (COMPLETIONS.rules, completion_create_params.CompletionCreateParamsStreaming),
        (RESPONSES.rules, response_create_params.ResponseCreateParamsStreaming),
        (MESSAGES.rules, message_create_params.MessageCreateParamsStreaming),
    ],
)
def test_every_field_that_the_official_clients_document_is_known(rules: FieldRules, documented: type) -> None:
    assert documented.__annotations__.keys() - {*rules.allowed, *rules.refused} == set()
