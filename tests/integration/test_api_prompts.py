"""What `/tokenize` is asked for a body renders the chat that vLLM's own code makes of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, event, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from server.api.endpoint import Limits
from server.api.messages import Messages
from server.api.messages_prompt import as_chat as messages_chat
from server.api.messages_prompt import continuing
from server.api.responses import Responses
from server.api.responses_prompt import as_chat as responses_chat

pytest.importorskip("vllm")

LONG = budget(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TEXT = st.sampled_from(["", "a", "who?", "x-anthropic-billing-header: a", "ü\n"])
EFFORT = st.sampled_from(["none", "low", "high"])
KWARGS = st.dictionaries(st.sampled_from(["date", "enable_thinking"]), st.sampled_from(["x", True]), max_size=2)
SCHEMA = st.sampled_from([{}, {"type": "object"}, {"properties": {"q": {"type": "string", "description": "a"}}}])


def optional(**fields: Any) -> Any:
    return st.fixed_dictionaries({}, optional=fields)


def item(kind: str, fields: dict[str, Any], more: dict[str, Any] | None = None) -> Any:
    return st.fixed_dictionaries({"type": st.just(kind)} | fields, optional=more or {})


STATUS = st.sampled_from(["completed", "incomplete", "in_progress"])
SAID = item("output_text", {"text": TEXT}, {"annotations": st.just([])})
ITEMS = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "system", "developer", "assistant"]), "content": TEXT}),
    item(
        "message",
        {"role": st.just("user"), "content": st.lists(item("input_text", {"text": TEXT}), min_size=1, max_size=2)},
    ),
    item(
        "message",
        {"role": st.just("assistant"), "content": st.lists(SAID, min_size=1, max_size=2)},
        {"status": STATUS, "id": st.just("msg_1")},
    ),
    item("message", {"role": st.just("assistant"), "content": TEXT}, {"status": STATUS}),
    item(
        "function_call",
        {"name": st.just("f"), "arguments": st.sampled_from(["{}", '{"q": "é"}']), "call_id": st.just("c")},
        {"namespace": st.sampled_from([None, "n"]), "status": STATUS},
    ),
    item("custom_tool_call", {"name": st.just("g"), "input": TEXT, "call_id": st.just("d")}),
    item(
        "function_call_output",
        {"call_id": st.just("c"), "output": TEXT | st.lists(item("input_text", {"text": TEXT}), max_size=2)},
    ),
    item("custom_tool_call_output", {"call_id": st.just("d"), "output": TEXT}),
    item(
        "reasoning",
        {"summary": st.lists(item("summary_text", {"text": TEXT}), max_size=1), "id": st.just("rs_1")},
        {"content": st.lists(item("reasoning_text", {"text": TEXT}), max_size=2), "status": STATUS},
    ),
)
FUNCTION = item(
    "function",
    {"name": st.just("f")},
    {"description": TEXT, "parameters": SCHEMA, "strict": st.booleans(), "defer_loading": st.booleans()},
)
TOOLS = st.lists(
    FUNCTION
    | item("custom", {"name": st.just("g")}, {"description": TEXT})
    | item("namespace", {"name": st.just("n"), "description": TEXT, "tools": st.lists(FUNCTION, max_size=2)}),
    max_size=2,
)
RESPONSES = st.fixed_dictionaries(
    {"model": st.just("m"), "input": st.sampled_from(["hi", "who?"]) | st.lists(ITEMS, min_size=1, max_size=5)},
    optional={
        "instructions": TEXT,
        "tools": TOOLS,
        "reasoning": optional(effort=EFFORT),
        "chat_template_kwargs": KWARGS,
    },
)


def plain(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What of messages reaches a template."""
    shown = []
    for message in messages:
        kept = {
            name: message[name]
            for name in ("role", "content", "reasoning", "tool_call_id", "tool_calls")
            if message.get(name) is not None
        }
        if isinstance(kept.get("content"), list):
            kept["content"] = [
                part.get("text") if part["type"] != "tool_reference" else part for part in kept["content"]
            ]
        shown.append(kept)
    return shown


def rendered(request: dict[str, Any]) -> tuple[Any, Any, Any]:
    """The messages, tools and arguments that ``/tokenize`` hands to the template."""
    from vllm.entrypoints.serve.tokenize.protocol import TokenizeChatRequest

    parsed = TokenizeChatRequest(**request)
    tools = None if parsed.tools is None else [tool.model_dump() for tool in parsed.tools]
    return plain(request["messages"]), tools, parsed.build_chat_params(None, "auto").chat_template_kwargs


@given(body=RESPONSES)
@LONG
def test_responses(body: dict[str, Any]) -> None:
    from pydantic import ValidationError
    from vllm.entrypoints.openai.responses.protocol import ResponsesRequest
    from vllm.entrypoints.openai.responses.utils import construct_input_messages, construct_tool_dicts

    Responses(Limits()).check(body)
    try:
        theirs = ResponsesRequest(**body)
    except ValidationError:
        event("refused")
        return  # vLLM does not take it
    messages = construct_input_messages(request_instructions=theirs.instructions, request_input=theirs.input)
    tools = construct_tool_dicts(theirs.tools, theirs.tool_choice)
    kwargs = theirs.build_chat_params(None, "auto").chat_template_kwargs
    assert rendered(responses_chat(body)) == (plain([dict(message) for message in messages]), tools or None, kwargs)


BLOCK = st.one_of(
    item("text", {"text": TEXT}),
    item("thinking", {"thinking": TEXT, "signature": st.just("s")}),
    item("tool_use", {"id": st.just("t"), "name": st.just("f"), "input": st.sampled_from([{}, {"q": "é"}])}),
)
GIVEN = item("text", {"text": TEXT}) | item("tool_reference", {"tool_name": st.just("f")})
RESULT = item("tool_result", {"tool_use_id": st.just("t")}, {"content": TEXT | st.lists(GIVEN, max_size=3)})
ANTHROPIC_TOOL = st.fixed_dictionaries(
    {"name": st.sampled_from(["f", "g"]), "input_schema": SCHEMA},
    optional={"description": TEXT, "strict": st.booleans(), "defer_loading": st.booleans()},
)
CHANGE = item(
    "tool_addition",
    {
        "tool": st.one_of(
            st.fixed_dictionaries({"type": st.just("tool_definition"), "definition": ANTHROPIC_TOOL}),
            st.just({"type": "tool_reference", "name": "f"}),
        )
    },
) | item("tool_removal", {"tool": st.just({"type": "tool_reference", "name": "f"})})


def message(role: str, block: Any) -> Any:
    return st.fixed_dictionaries({"role": st.just(role), "content": TEXT | st.lists(block, max_size=4)})


ANTHROPIC = st.fixed_dictionaries(
    {
        "model": st.just("m"),
        "max_tokens": st.just(2048),
        "messages": st.lists(
            message("user", item("text", {"text": TEXT}) | RESULT)
            | message("assistant", BLOCK)
            | message("system", item("text", {"text": TEXT}) | CHANGE),
            min_size=1,
            max_size=4,
        ),
    },
    optional={
        "system": TEXT | st.lists(item("text", {"text": TEXT}), max_size=3),
        "tools": st.lists(ANTHROPIC_TOOL, max_size=2, unique_by=lambda tool: tool["name"]),
        "thinking": st.sampled_from([{"type": "disabled"}, {"type": "enabled", "budget_tokens": 1024}]),
        "output_config": optional(
            effort=st.sampled_from(["low", "max"]),
            format=st.just({"type": "json_schema", "schema": {"type": "object"}}),
        ),
        "stop_sequences": st.just(["x"]),
        "stream": st.booleans(),
        "temperature": st.just(0.5),
        "tool_choice": st.one_of(
            st.sampled_from([{"type": "auto"}, {"type": "none"}, {"type": "tool", "name": "f"}]),
            st.just({"type": "any", "disable_parallel_tool_use": True}),
        ),
        "chat_template_kwargs": KWARGS,
    },
)


@given(body=ANTHROPIC, merged=st.booleans(), unthinking=st.sampled_from(["none", "low"]))
@LONG
def test_messages(body: dict[str, Any], merged: bool, unthinking: str) -> None:
    from pydantic import ValidationError
    from vllm.entrypoints.anthropic.protocol import AnthropicMessagesRequest
    from vllm.entrypoints.anthropic.serving import AnthropicServingMessages
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

    Messages(Limits()).check(body)
    try:
        chat = AnthropicServingMessages.to_chat_completion_request(
            AnthropicMessagesRequest(**body),
            merge_inline_system=merged,
            disabled_thinking_effort=unthinking,
        )
    except (ValidationError, ValueError):
        event("refused")
        return  # vLLM does not take it
    messages: list[dict[str, Any]] = [dict(one) for one in chat.messages]
    for one in messages:
        for call in one.get("tool_calls") or ():
            call.pop("index", None)
    tools = None if chat.tools is None else [tool.model_dump() for tool in chat.tools]
    kwargs = chat.build_chat_params(None, "auto").chat_template_kwargs
    ours = messages_chat(body, merged=merged, unthinking=unthinking)
    assert rendered(ours) == (plain(messages), tools, kwargs)
    if not merged and unthinking == "none":
        again = ChatCompletionRequest(**continuing(body, ""))
        chosen = ("parallel_tool_calls", "tool_choice") if tools else ()
        asked = ("max_tokens", "response_format", "stop", "stream", "temperature", "thinking_token_budget")
        for name in (*asked, *chosen):
            assert (getattr(again, name) or None) == (getattr(chat, name) or None), name
