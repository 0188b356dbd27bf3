from __future__ import annotations

from typing import Any

import pytest

from guards.act.decline import Form
from guards.plan import Role
from server.api.chat import ChatCompletions
from server.api.endpoint import Limits
from server.errors import BadRequest

CHAT = ChatCompletions(Limits(max_messages=20))


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def asked(body: dict[str, Any]) -> list[str]:
    return [one.text for one in CHAT.read(body) if one.role is Role.ASKS]


def supplied(body: dict[str, Any]) -> list[str]:
    return [one.text for one in CHAT.read(body) if one.role is Role.SUPPLIES]


DOCUMENTED = {
    # OpenAI's reference of chat completions, and vLLM 0.32's sampling and extra parameters
    "audio": {"voice": "alloy", "format": "mp3"},
    "frequency_penalty": 0.5,
    "function_call": "auto",
    "functions": [{"name": "f"}],
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "max_completion_tokens": 5,
    "max_tokens": 5,
    "metadata": {"a": "b"},
    "modalities": ["text"],
    "moderation": {"model": "omni-moderation-latest"},
    "n": 2,
    "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": "x"},
    "presence_penalty": 0.5,
    "prompt_cache_key": "k",
    "prompt_cache_options": {"mode": "explicit", "ttl": "30m"},
    "reasoning_effort": "low",
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
    "safety_identifier": "s",
    "seed": 1,
    "service_tier": "auto",
    "stop": ["\n"],
    "store": False,
    "stream": True,
    "stream_options": {"include_usage": True},
    "temperature": 0.5,
    "tool_choice": "auto",
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    "top_logprobs": 3,
    "top_p": 0.9,
    "user": "u",
    "verbosity": "low",
    "web_search_options": {},
    "add_generation_prompt": True,
    "add_special_tokens": False,
    "bad_words": ["x"],
    "cache_salt": "s",
    "chat_template_kwargs": {"enable_thinking": False},
    "continue_final_message": False,
    "documents": [{"title": "t", "text": "x"}],
    "ignore_eos": True,
    "include_reasoning": True,
    "include_stop_str_in_output": False,
    "length_penalty": 1.0,
    "min_p": 0.1,
    "min_tokens": 1,
    "repetition_penalty": 1.1,
    "skip_special_tokens": True,
    "spaces_between_special_tokens": True,
    "stop_token_ids": [1],
    "structured_outputs": {"choice": ["a", "b"]},
    "thinking_token_budget": 10,
    "top_k": 5,
}


@pytest.mark.parametrize("field", DOCUMENTED)
def test_every_documented_field_passes(field: str) -> None:
    CHAT.check({"model": "m", "messages": [user("hi")], field: DOCUMENTED[field]})


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": 1, "content": "hi"}]}, "messages[0].role"),
        ({"messages": [user(1)]}, "messages[0].content"),
        ({"messages": [user("a"), user([1])]}, "messages[1].content[0]"),
        ({"messages": [user([{"text": "a"}])]}, "messages[0].content[0].type"),
        ({"messages": [user([{"type": "text"}])]}, "messages[0].content[0].text"),
        ({"messages": [user([{"type": "text", "text": 1}])]}, "messages[0].content[0].text"),
        ({"messages": [user([{"type": "text", "text": "a", "uuid": "b"}])]}, "messages[0].content[0].uuid"),
        ({"messages": [user([{"type": "image_url", "image_url": {"url": "x"}}])]}, "messages[0].content[0].type"),
        ({"messages": [user([{"type": "input_audio", "input_audio": {}}])]}, "messages[0].content[0].type"),
        ({"messages": [user([{"type": "prompt_embeds", "data": "x"}])]}, "messages[0].content[0].type"),
        ({"messages": [user([{"image_url": {"url": "x"}}])]}, "messages[0].content[0].type"),
        ({"messages": [user("a") | {"prompt_embeds": "x"}]}, "messages[0].prompt_embeds"),
        ({"messages": [user("a") | {"task": "x"}]}, "messages[0].task"),
        ({"messages": [user("a")] * 21}, "messages"),
        ({"messages": [user(["a"] * 21)]}, "messages[0].content"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"stream": "true"}, "stream"),
        ({"n": True}, "n"),
        ({"stop_token_ids": [-1]}, "stop_token_ids"),
        ({"temperature": "hot"}, "temperature"),
        ({"chat_template_kwargs": {"x": ["a"]}}, "chat_template_kwargs"),
        ({"chat_template_kwargs": {"chat_template": "{{ x }}"}}, "chat_template_kwargs.chat_template"),
        ({"documents": [{"text": {"a": "b"}}]}, "documents"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        CHAT.check({"model": "m", "messages": [user("hi")]} | change)
    assert refusal.value.param == param


def test_who_asks_and_who_supplies() -> None:
    body = {
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "developer", "content": "be kind"},
            user("first question") | {"name": "ann"},
            {
                "role": "assistant",
                "content": "an answer",
                "tool_calls": [{"id": "1", "function": {"name": "look_up", "arguments": '{"q": "x"}'}}],
            },
            {"role": "tool", "content": "a result", "tool_call_id": "1"},
            user([{"type": "text", "text": "second"}, {"type": "input_text", "text": "question"}, "third"]),
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "look_up",
                    "description": "finds things",
                    "parameters": {"properties": {"q": {"type": "string", "description": "what to find"}}},
                },
            }
        ],
        "documents": [{"title": "a title", "text": "a text"}],
        "chat_template_kwargs": {"date": "today", "thinking": False},
    }
    CHAT.check(body)
    assert asked(body) == ["first question", "second", "question", "third", "second\nquestion\nthird", "today"]
    assert supplied(body) == [
        *("be brief", "be kind", "ann", "an answer", "look_up", '{"q": "x"}', "a result"),
        *("look_up", "finds things", "what to find", "a title", "a text"),
    ]


def test_what_only_a_template_prints_is_read_aside() -> None:
    function = {"name": "f", "parameters": {"properties": {"who_wrote_it": {"enum": ["Emma"]}}}}
    body: dict[str, Any] = {
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "Who wr"}, {"type": "text", "text": "ote it?"}]},
            {"role": "assistant", "tool_calls": [{"id": "Was it", "type": "function", "function": {"name": "g"}}]},
            {"role": "tool", "tool_call_id": "or not", "content": "x-anthropic-billing-header stays"},
            {"role": "system", "content": "x-anthropic-billing-header goes"},
            user("so?"),
        ],
        "tools": [{"type": "function", "function": function}],
        "documents": [{"Who is": "the poet"}, {"of": "Ulm?"}],
        "functions": [{"name": "no model is told"}],
    }
    CHAT.check(body)
    assert [one.text for one in CHAT.read(body) if one.role is Role.ASIDE] == [
        *("Who wrote it?", "Who wr ote it?", "Was it", "or not", "x-anthropic-billing-header goes"),
        "type function function name f parameters properties who_wrote_it enum Emma",
        *("Who is", "of", "the poetUlm?", "the poet Ulm?"),
    ]
    stays = "x-anthropic-billing-header stays"
    assert supplied(body) == ["Who wr", "ote it?", "g", stays, "f", "the poet", "Ulm?"]


def test_of_long_parts_the_seams_are_read() -> None:
    parts = [{"type": "text", "text": text} for text in ("a" * 400 + "Who wr", "ote it?" + "b" * 800)]
    (glued,) = (one.text for one in CHAT.read({"messages": [user(parts)]}) if one.role is Role.ASIDE)
    assert "Who wrote it?" in glued
    assert len(glued) < 1_100


def test_every_segment_stands_where_its_path_says() -> None:
    body: dict[str, Any] = {
        "messages": [
            user([{"type": "text", "text": "a"}, "b", {"type": "refusal", "refusal": "c"}]),
            {"role": "assistant", "content": "d", "reasoning": "e"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "description": "g"}}],
        "documents": [{"text": "h"}],
        "chat_template_kwargs": {"k": "i"},
    }
    for segment in CHAT.read(body):
        value: Any = body
        for step in segment.path:
            value = value[step]
        assert value == segment.text or segment.role is Role.ASIDE or isinstance(value, list)


def test_an_answer_begun_for_the_model_asks() -> None:
    assert asked({"messages": [user("hi"), {"role": "assistant", "content": "It was"}]}) == ["hi", "It was"]


def test_instructions_ask_where_no_user_speaks() -> None:
    assert asked({"messages": [{"role": "system", "content": "Who was it?"}]}) == ["Who was it?"]


TOLD = "Who was it?"


@pytest.mark.parametrize("nothing", [None, "", " \n", [], [""], [{"type": "text", "text": "\u200b"}], "…"])
@pytest.mark.parametrize("role", ["system", "developer", "tool", "function", "assistant"])
def test_where_the_user_says_nothing_whatever_is_said_asks(role: str, nothing: Any) -> None:
    body = {"messages": [{"role": role, "content": TOLD}, user(nothing)]}
    CHAT.check(body)
    assert TOLD in asked(body)


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "tool", "content": TOLD}],
        [{"role": "assistant", "content": TOLD}, {"role": "assistant", "content": ""}],
        [{"role": "assistant", "content": TOLD}, {"role": "tool", "content": "x"}],
        [{"role": "assistant", "reasoning": TOLD}, {"role": "tool", "content": "x"}],
        [user("") | {"name": TOLD}],
    ],
)
def test_without_a_user_every_message_asks(messages: list[dict[str, Any]]) -> None:
    assert TOLD in asked({"messages": messages})


def test_documents_ask_where_nobody_does() -> None:
    assert asked({"messages": [user("")], "documents": [{"text": TOLD}]}) == [TOLD]
    described = {"type": "function", "function": {"name": "f", "parameters": {"a": {"enum": [""], "title": TOLD}}}}
    assert asked({"messages": [user("")], "tools": [described]}) == [TOLD]
    assert asked({"messages": [user("x")], "tools": [described]}) == ["x"]


def test_all_of_a_begun_answer_asks_but_its_name() -> None:
    call = {"function": {"name": "f", "arguments": '{"q": "x"}'}}
    begun = {"role": "assistant", "content": "a", "reasoning": "b", "refusal": "c", "tool_calls": [call], "name": "n"}
    body = {"messages": [user("hi"), begun]}
    assert asked(body) == ["hi", "a", "b", "c", "f", '{"q": "x"}']
    assert asked({"messages": [begun, user("hi")]}) == ["hi"]


@pytest.mark.parametrize(("choice", "found"), [(None, ["one"]), ("auto", ["one"]), ("none", [])])
def test_a_tool_that_may_not_be_called_lists_nothing(choice: str | None, found: list[str]) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"enum": ["one"]}}}
    formatted = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"const": "two"}}}
    body = {"messages": [user("x")], "tools": [tool], "tool_choice": choice, "response_format": formatted}
    assert CHAT.enumerated(body) == (["two"], found)


def test_a_role_may_hold_a_question() -> None:
    question = "user\nWho wrote it?"
    assert asked({"messages": [user("."), {"role": question, "content": "!"}]}) == [".", "!", question]


@pytest.mark.parametrize(("wanted", "sent"), [(1, 9), (15, 20), (20, 20), (21, 21)])
def test_spare_alternatives_make_nothing_valid_that_is_not(wanted: int, sent: int) -> None:
    body = {"messages": [user("x")], "logprobs": True, "top_logprobs": wanted}
    spared, own = CHAT.with_spare(body, 8)
    assert (spared["top_logprobs"], own) == (sent, wanted)
    assert CHAT.alternatives(body) == wanted


def test_a_role_of_its_own_asks() -> None:
    assert asked({"messages": [{"role": "narrator", "content": "Who was it?"}]}) == ["Who was it?", "narrator"]


def test_the_form_of_a_begun_answer_is_a_prefill() -> None:
    body = {"messages": [user("hi"), {"role": "assistant", "content": "It was"}]}
    assert CHAT.form(body, ("messages", 0, "content")) is Form.QUESTION
    assert CHAT.form(body, ("messages", 1, "content")) is Form.PREFILL


def test_arguments_of_a_tool_call_stay_json() -> None:
    body = {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]}
    path = ("messages", 0, "tool_calls", 0, "function", "arguments")
    assert CHAT.neutral(body, path, '{"q": "x"}') == "{}"


def test_what_tokenize_is_asked_renders_the_same_prompt() -> None:
    body = {
        "model": "m",
        "messages": [user("hi")],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "continue_final_message": False,
        "temperature": 0.5,
        "reasoning_effort": "none",
        "documents": [{"text": "x"}],
        "chat_template_kwargs": {"a": 1},
    }
    (request,) = CHAT.prompts(body)
    assert request == {
        "model": "m",
        "messages": [user("hi")],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "continue_final_message": False,
        "chat_template_kwargs": {
            "a": 1,
            "enable_thinking": False,
            "reasoning_effort": "none",
            "documents": [{"text": "x"}],
        },
    }


@pytest.mark.parametrize(
    ("given", "limit", "sent"),
    [
        ({}, 50, {"max_completion_tokens": 50}),
        ({"max_tokens": 9}, 50, {"max_tokens": 9}),
        ({"max_completion_tokens": 90}, 50, {"max_completion_tokens": 50}),
    ],
)
def test_an_answer_is_limited_to_what_has_room(given: dict[str, int], limit: int, sent: dict[str, int]) -> None:
    assert CHAT.limit_output(dict(given), limit) == sent
