from __future__ import annotations

from typing import Any

import orjson
import pytest

from guards.act.decline import Form
from guards.plan import Role
from server.api.endpoint import Limits
from server.api.messages import Messages
from server.errors import BadRequest

MESSAGES = Messages(Limits(max_messages=20))
TOLD = "Who was it?"
TOOL = {"name": "look_up", "description": "finds", "input_schema": {"properties": {"q": {"description": "what"}}}}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def body(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 5, "messages": list(messages) or [user("hi")]} | fields


def asked(request: dict[str, Any]) -> list[str]:
    return [one.text for one in MESSAGES.read(request) if one.role is Role.ASKS]


def supplied(request: dict[str, Any]) -> list[str]:
    return [one.text for one in MESSAGES.read(request) if one.role is Role.SUPPLIES]


DOCUMENTED = {
    # Anthropic's reference of messages, and vLLM 0.32's extra parameters
    "cache_control": {"type": "ephemeral"},
    "context_management": {"edits": []},
    "inference_geo": "us",
    "max_tokens": 5,
    "metadata": {"user_id": "u"},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    "service_tier": "auto",
    "speed": "fast",
    "stop_sequences": ["x"],
    "stream": True,
    "system": [text("be brief") | {"cache_control": {"type": "ephemeral"}}],
    "temperature": 0.5,
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "tool_choice": {"type": "auto"},
    "tools": [TOOL | {"type": "custom", "strict": True, "cache_control": {"type": "ephemeral"}}],
    "top_k": 5,
    "top_p": 0.9,
    "cache_salt": "s",
    "chat_template_kwargs": {"a": 1},
    "watermarking": False,
}


@pytest.mark.parametrize("field", DOCUMENTED)
def test_every_documented_field_passes(field: str) -> None:
    MESSAGES.check(body(**{field: DOCUMENTED[field]}))


def block(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind} | fields


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [user("a")] * 21}, "messages"),
        ({"messages": [{"content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [user("a") | {"name": "x"}]}, "messages[0].name"),
        ({"messages": [user(["a"])]}, "messages[0].content[0]"),
        ({"messages": [user([block("image", source={})])]}, "messages[0].content[0].type"),
        ({"messages": [user([block("document", source={})])]}, "messages[0].content[0].type"),
        ({"messages": [assistant([block("redacted_thinking", data="x")])]}, "messages[0].content[0].type"),
        ({"messages": [assistant([block("server_tool_use", id="x")])]}, "messages[0].content[0].type"),
        ({"messages": [assistant([block("tool_result")])]}, "messages[0].content[0].type"),
        (
            {"messages": [user([block("tool_result", content=[{"type": "image"}])])]},
            "messages[0].content[0].content[0].type",
        ),
        ({"messages": [user([block("text")])]}, "messages[0].content[0].text"),
        ({"messages": [user([block("text", text="a", uuid="b")])]}, "messages[0].content[0].uuid"),
        ({"messages": [assistant([block("tool_use", input="x")])]}, "messages[0].content[0].input"),
        ({"messages": [{"role": "system", "content": [block("tool_addition")]}]}, "messages[0].content[0].tool"),
        ({"system": 1}, "system"),
        ({"system": [{"type": "image"}]}, "system[0].type"),
        ({"stream": "true"}, "stream"),
        ({"mcp_servers": []}, "mcp_servers"),
        ({"container": "c"}, "container"),
        ({"vllm_xargs": {}}, "vllm_xargs"),
        ({"kv_transfer_params": {}}, "kv_transfer_params"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"chat_template_kwargs": {"messages": "x"}}, "chat_template_kwargs.messages"),
    ],
)
def test_what_is_wrong_is_named_in_anthropics_envelope(change: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        MESSAGES.check(body(**change))
    assert refusal.value.param == param
    envelope = orjson.loads(MESSAGES.error(refusal.value))
    assert envelope["type"] == "error"
    assert envelope["error"] == {
        "type": "invalid_request_error",
        "message": refusal.value.message,
        "param": param,
        "code": refusal.value.code,
    }


def test_who_asks_and_who_supplies() -> None:
    request = body(
        user("first question"),
        assistant(
            [
                block("thinking", thinking="a thought", signature="s"),
                text("an answer"),
                block("tool_use", id="t", name="look_up", input={"q": "é"}),
            ]
        ),
        user([block("tool_result", tool_use_id="t", content=[text("a result")]), text("second"), text("question")]),
        {"role": "system", "content": [text("a reminder"), block("tool_addition", tool={"type": "x", "name": "n"})]},
        user([block("tool_result", tool_use_id="t", content="another result")]),
        system=[text("be brief")],
        tools=[TOOL],
        chat_template_kwargs={"date": "today"},
    )
    MESSAGES.check(request)
    assert asked(request) == ["first question", "second", "question", "second\nquestion", "today"]
    assert [one.text for one in MESSAGES.read(request) if one.role is Role.ASIDE] == [
        *("a thoughtan answer", "a thought an answer", "t", "secondquestion", "t", "type x name n", "t"),
        "name look_up description finds input_schema properties q description what",
    ]
    assert supplied(request) == [
        *(
            "be brief",
            "a thought",
            "an answer",
            "look_up",
            '{"q": "é"}',
            "a result",
            "a reminder",
            "n",
        ),
        *("another result", "look_up", "finds", "what"),
    ]


def test_every_text_stands_where_its_path_says() -> None:
    request = body(user([text("a"), text("b")]), assistant("c"), user([block("tool_result", content="d")]), system="e")
    for segment in MESSAGES.read(request):
        value: Any = request
        for step in segment.path:
            value = value[step]
        assert value == segment.text or segment.role is Role.ASIDE or isinstance(value, list)


def test_a_begun_answer_asks() -> None:
    assert asked(body(user("hi"), assistant("It was"))) == ["hi", "It was"]
    assert asked(body(user("hi"), assistant("It was"), user("so?"))) == ["hi", "so?"]


@pytest.mark.parametrize(
    "request_",
    [
        body(user(" "), system=TOLD),
        body(user([block("tool_result", content=TOLD)])),
        body({"role": "system", "content": TOLD}, user([])),
    ],
)
def test_where_the_user_says_nothing_whatever_is_said_asks(request_: dict[str, Any]) -> None:
    MESSAGES.check(request_)
    assert TOLD in asked(request_)


def test_the_form_of_a_begun_answer_is_a_prefill() -> None:
    request = body(user("hi"), assistant([text("It was")]))
    assert MESSAGES.form(request, ("messages", 0, "content")) is Form.QUESTION
    assert MESSAGES.form(request, ("messages", 1, "content", 0, "text")) is Form.PREFILL


def test_what_replaces_texts_leaves_results_where_they_are() -> None:
    result = block("tool_result", tool_use_id="t", content="x")
    request = body(user([result, text("a"), text("b")]))
    kept, new = MESSAGES.neutral(request, ("messages", 0, "content"), "a\nb")
    assert kept == result
    assert new["type"] == "text"
    call = body(assistant([block("tool_use", name="f", input={"q": "x"})]))
    assert MESSAGES.neutral(call, ("messages", 0, "content", 0, "input"), '{"q": "x"}') == {}


def test_what_tokenize_is_asked_renders_the_same_prompt() -> None:
    """`tests/integration/test_api_prompts.py` compares it with vLLM's own."""
    request = body(
        user([text("hi")]),
        {"role": "system", "content": "a reminder"},
        assistant([block("tool_use", id="t", name="f", input={"q": "x"})]),
        user([block("tool_result", tool_use_id="t", content=[text("a"), text("b")]), text("so?")]),
        system=[text("x-anthropic-billing-header: x"), text("be "), text("brief")],
        thinking={"type": "disabled"},
        tools=[TOOL],
    )
    renderings = [rendering(request) for rendering in MESSAGES.renderings(request)]
    assert renderings[0] == MESSAGES.prompts(request)[0]
    contents = [[one["messages"][0]["content"], one["chat_template_kwargs"]["reasoning_effort"]] for one in renderings]
    assert contents == [
        ["be brief", "none"],
        ["be brief", "low"],
        ["be briefa reminder", "none"],
        ["be briefa reminder", "low"],
    ]
    roles = [[message["role"] for message in one["messages"]] for one in renderings]
    assert roles[0] == ["system", "user", "system", "assistant", "tool", "user"]
    assert roles[2] == ["system", "user", "assistant", "tool", "user"]
    assert renderings[0]["messages"][4]["content"] == "a\nb"
    path, question = MESSAGES.counting(request)
    assert path == "/v1/messages/count_tokens"
    assert question == {name: value for name, value in request.items() if name != "max_tokens"}


@pytest.mark.parametrize(
    ("limit", "thinking"),
    [(2000, {"type": "enabled", "budget_tokens": 1999}), (50, {"type": "adaptive"}), (5000, None)],
)
def test_a_thought_is_limited_with_its_answer(limit: int, thinking: dict[str, Any] | None) -> None:
    """vLLM refuses a budget that leaves nothing for an answer."""
    given = {"max_tokens": 9000, "thinking": {"type": "enabled", "budget_tokens": 4000}}
    assert MESSAGES.limit_output(given, limit) == {"max_tokens": limit, "thinking": thinking or given["thinking"]}


def test_an_answer_goes_on_as_the_chat_that_vllm_makes_of_it() -> None:
    request = body(stop_sequences=["x"], stream=True, tools=[TOOL], tool_choice={"type": "none"}, cache_salt="s")
    chat = MESSAGES.resumed(request, "It was")
    assert chat is not None
    assert chat["messages"] == [user("hi"), assistant("It was")]
    assert (chat["continue_final_message"], chat["add_generation_prompt"]) == (True, False)
    assert (chat["stop"], chat["tool_choice"], chat["cache_salt"], chat["max_tokens"]) == (["x"], "none", "s", 5)
    assert MESSAGES.resuming.path == "/v1/chat/completions"
    MESSAGES.resuming.check(chat)


@pytest.mark.parametrize(("given", "limit", "sent"), [(9, 50, 9), (90, 50, 50)])
def test_an_answer_is_limited_to_what_has_room(given: int, limit: int, sent: int) -> None:
    assert MESSAGES.limit_output({"max_tokens": given}, limit) == {"max_tokens": sent}
