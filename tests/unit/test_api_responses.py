from __future__ import annotations

from typing import Any

import pytest

from guards.act.decline import Form
from guards.plan import Role
from server.api.endpoint import Limits
from server.api.responses import Responses
from server.errors import BadRequest

RESPONSES = Responses(Limits(max_messages=20))
TOLD = "Who was it?"


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "input": "hi"} | fields


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def said(*texts: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": t} for t in texts],
    } | more


def asked(request: dict[str, Any]) -> list[str]:
    return [one.text for one in RESPONSES.read(request) if one.role is Role.ASKS]


def supplied(request: dict[str, Any]) -> list[str]:
    return [one.text for one in RESPONSES.read(request) if one.role is Role.SUPPLIES]


DOCUMENTED = {
    # OpenAI's reference of responses, and vLLM 0.32's extra parameters
    "background": False,
    "conversation": None,
    "frequency_penalty": 0.5,
    "include": ["message.output_text.logprobs", "reasoning.encrypted_content"],
    "instructions": "be brief",
    "logit_bias": {"50256": -100},
    "max_output_tokens": 5,
    "max_tool_calls": 3,
    "metadata": {"a": "b"},
    "parallel_tool_calls": False,
    "presence_penalty": 0.5,
    "previous_response_id": None,
    "prompt": None,
    "prompt_cache_key": "k",
    "reasoning": {"effort": "low", "summary": None},
    "safety_identifier": "s",
    "service_tier": "auto",
    "store": True,
    "stream": True,
    "stream_options": {"include_obfuscation": False},
    "temperature": 0.5,
    "text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}}, "verbosity": "low"},
    "tool_choice": "auto",
    "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": True}],
    "top_logprobs": 3,
    "top_p": 0.9,
    "truncation": "disabled",
    "user": "u",
    "cache_salt": "s",
    "chat_template_kwargs": {"enable_thinking": False},
    "ignore_eos": True,
    "include_reasoning": True,
    "include_stop_str_in_output": False,
    "min_p": 0.1,
    "repetition_penalty": 1.1,
    "seed": 1,
    "skip_special_tokens": True,
    "stop": ["\n"],
    "stop_token_ids": [1],
    "structured_outputs": {"choice": ["a", "b"]},
    "top_k": 5,
}


@pytest.mark.parametrize("field", DOCUMENTED)
def test_every_documented_field_passes(field: str) -> None:
    RESPONSES.check(body(**{field: DOCUMENTED[field]}))


def test_what_the_server_answers_can_be_handed_back() -> None:
    """As vLLM 0.32 writes output items, with all their nulls."""
    output: list[dict[str, Any]] = [
        {
            "id": "msg_1",
            "content": [{"annotations": [], "text": "x", "type": "output_text", "logprobs": None}],
            "role": "assistant",
            "status": "completed",
            "type": "message",
            "phase": None,
        },
        {
            "arguments": "{}",
            "call_id": "c",
            "name": "f",
            "type": "function_call",
            "id": "fc_1",
            "async": None,
            "caller": None,
            "namespace": None,
            "status": "completed",
        },
        {
            "id": "rs_1",
            "summary": [],
            "type": "reasoning",
            "content": [{"text": "x", "type": "reasoning_text"}],
            "encrypted_content": None,
            "status": None,
        },
    ]
    RESPONSES.check(body(input=[user("hi"), *output, {"type": "function_call_output", "call_id": "c", "output": "x"}]))


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": ["hi"]}, "input"),
        ({"input": [user("a")] * 21}, "input"),
        ({"input": [{"content": "hi"}]}, "input[0].role"),
        ({"input": [user(1)]}, "input[0].content"),
        ({"input": [user(["a"])]}, "input[0].content[0]"),
        ({"input": [user([{"type": "input_image", "image_url": "x"}])]}, "input[0].content[0].type"),
        ({"input": [user([{"type": "input_file", "file_id": "x"}])]}, "input[0].content[0].type"),
        ({"input": [user([{"type": "input_text"}])]}, "input[0].content[0].text"),
        ({"input": [user("a") | {"prompt_embeds": "x"}]}, "input[0].prompt_embeds"),
        ({"input": [user("a") | {"task": "x"}]}, "input[0].task"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"type": "mcp_call", "name": "x"}]}, "input[0].type"),
        ({"input": [{"type": "function_call", "name": "f", "call_id": "c"}]}, "input[0].arguments"),
        ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output"),
        ({"input": [{"type": "reasoning", "encrypted_content": "x"}]}, "input[0].encrypted_content"),
        ({"background": True}, "background"),
        ({"conversation": "c"}, "conversation"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"previous_input_messages": []}, "previous_input_messages"),
        ({"enable_response_messages": True}, "enable_response_messages"),
        ({"truncation": "auto"}, "truncation"),
        ({"stream": "true"}, "stream"),
        ({"n": 2}, "n"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "mcp", "server_label": "x"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"type": "namespace", "name": "n"}]}, "tools[0].tools"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "mcp"}]}]}, "tools[0].tools[0].type"),
        ({"chat_template_kwargs": {"chat_template": "{{ x }}"}}, "chat_template_kwargs.chat_template"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        RESPONSES.check(body(**change))
    assert refusal.value.param == param


def test_who_asks_and_who_supplies() -> None:
    request = body(
        instructions="be brief",
        input=[
            {"role": "developer", "content": "be kind"},
            user("first question"),
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "a thought"}]},
            said("an answer"),
            {"type": "function_call", "name": "look_up", "arguments": '{"q": "x"}', "call_id": "c"},
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "a result"}]},
            user([{"type": "input_text", "text": "second"}, {"type": "input_text", "text": "question"}]),
        ],
        tools=[
            {
                "type": "function",
                "name": "look_up",
                "description": "finds things",
                "parameters": {"properties": {"q": {"type": "string", "description": "what to find"}}},
            }
        ],
        chat_template_kwargs={"date": "today", "thinking": False},
    )
    RESPONSES.check(request)
    assert asked(request) == ["first question", "second", "question", "second\nquestion", "today"]
    assert supplied(request) == [
        *("be brief", "be kind", "a thought", "an answer", "look_up", '{"q": "x"}', "a result"),
        *("look_up", "finds things", "what to find"),
    ]


def test_what_only_a_template_prints_is_read_aside() -> None:
    call = {"type": "function_call", "namespace": "who_wrote", "name": "it", "arguments": "{}", "call_id": "c 1"}
    read = RESPONSES.read(body(input=[call, user("so?")]))
    assert [one.text for one in read if one.role is Role.ASIDE] == ["who_wrote c 1"]


def test_every_segment_stands_where_its_path_says() -> None:
    request = body(
        instructions="a",
        input=[
            user([{"type": "input_text", "text": "b"}, {"type": "input_text", "text": "c"}]),
            {"type": "custom_tool_call", "name": "d", "input": "e", "call_id": "c"},
            {"type": "custom_tool_call_output", "call_id": "c", "output": "f"},
        ],
        tools=[{"type": "namespace", "name": "g", "description": "h", "tools": [{"type": "function", "name": "i"}]}],
    )
    RESPONSES.check(request)
    for segment in RESPONSES.read(request):
        value: Any = request
        for step in segment.path:
            value = value[step]
        assert value == segment.text or segment.role is Role.ASIDE or isinstance(value, list)


def test_the_models_unfinished_turn_asks() -> None:
    call = {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"}
    assert asked(body(input=[user("hi"), said("It was", status="incomplete")])) == ["hi", "It was"]
    assert asked(body(input=[user("hi"), said("It was"), call])) == ["hi", "It was", "f", "{}"]
    assert asked(body(input=[user("hi"), said("It was"), user("so?")])) == ["hi", "so?"]


@pytest.mark.parametrize(
    "request_",
    [
        body(instructions=TOLD, input=[user(" \n")]),
        body(instructions=TOLD, input=" "),
        body(input=[{"role": "system", "content": TOLD}]),
        body(input=[{"type": "function_call_output", "call_id": "c", "output": TOLD}]),
    ],
)
def test_where_the_user_says_nothing_whatever_is_said_asks(request_: dict[str, Any]) -> None:
    RESPONSES.check(request_)
    assert TOLD in asked(request_)


def test_the_form_of_a_begun_answer_is_a_prefill() -> None:
    request = body(input=[user("hi"), said("It was")])
    assert RESPONSES.form(request, ("input", 0, "content")) is Form.QUESTION
    assert RESPONSES.form(request, ("input", 1, "content", 0, "text")) is Form.PREFILL
    assert RESPONSES.form(body(), ("input",)) is Form.QUESTION


def test_what_replaces_a_text_has_its_shape() -> None:
    parts = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]
    request = body(input=[user(parts), {"type": "function_call", "name": "f", "arguments": "x", "call_id": "c"}])
    (part,) = RESPONSES.neutral(request, ("input", 0, "content"), "a\nb")
    assert part["type"] == "input_text"
    assert isinstance(RESPONSES.neutral(request, ("input", 0, "content", 0, "text"), "a"), str)
    assert RESPONSES.neutral(request, ("input", 1, "arguments"), "x") == "{}"


def test_what_tokenize_is_asked_renders_the_same_prompt() -> None:
    """`tests/integration/test_api_prompts.py` compares it with vLLM's own."""
    request = body(
        instructions="be brief",
        input=[
            user([{"type": "input_text", "text": "hi"}]),
            {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "why"}]},
            {"type": "custom_tool_call", "name": "g", "input": "é", "call_id": "c"},
            {"type": "custom_tool_call_output", "call_id": "c", "output": "x"},
            said("It was", status="in_progress"),
        ],
        reasoning={"effort": "low"},
        temperature=0.5,
    )
    call = {"id": "c", "type": "function", "function": {"name": "g", "arguments": '{"input": "é"}'}}
    assert RESPONSES.prompts(request) == [
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": [{"type": "text", "text": "hi"}]},
                {"role": "assistant", "reasoning": "why", "tool_calls": [call]},
                {"role": "tool", "content": "x", "tool_call_id": "c"},
                {"role": "assistant", "content": "It was"},
            ],
            "add_generation_prompt": False,
            "continue_final_message": True,
            "chat_template_kwargs": {"enable_thinking": True, "reasoning_effort": "low"},
        }
    ]


def test_an_answer_goes_on_as_an_unfinished_turn() -> None:
    whole = RESPONSES.resumed(body(), "It was")
    assert whole is not None
    assert [one.get("content") for one in RESPONSES.prompts(whole)[0]["messages"]] == ["hi", "It was"]
    begun = RESPONSES.resumed(body(input=[user("hi"), said("It", status="incomplete")]), " was")
    assert begun is not None
    assert begun["input"][-1]["content"][0]["text"] == "It was"
    assert len(begun["input"]) == 2
    assert RESPONSES.resumed(body(), "") == body()
    assert RESPONSES.resumed(body(input=[user("hi"), said("It")]), " was") is None


@pytest.mark.parametrize(
    ("given", "limit", "sent"),
    [
        ({}, 50, {"max_output_tokens": 50}),
        ({"max_output_tokens": 9}, 50, {"max_output_tokens": 9}),
        ({"max_output_tokens": 90}, 50, {"max_output_tokens": 50}),
    ],
)
def test_an_answer_is_limited_to_what_has_room(given: dict[str, int], limit: int, sent: dict[str, int]) -> None:
    assert RESPONSES.limit_output(dict(given), limit) == sent
