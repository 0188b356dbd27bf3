"""The prompt of ``/v1/responses``: the chat that vLLM 0.32 makes of a body before it renders it.

As its ``entrypoints/openai/responses/utils.py`` does, of bodies that were checked.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from server.api.reading import template_kwargs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server.api.body import Body

_UNFINISHED: Final = ("in_progress", "incomplete")
# The function that a free-form tool is shown as.
_CUSTOM: Final = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "The freeform text payload for this tool."}},
    "required": ["input"],
    "additionalProperties": False,
}


def kind_of(item: Body) -> str:
    """What an input item is."""
    return item.get("type") or "message"


def goes_on(body: Body) -> bool:
    """Whether the model continues the last input item."""
    given = body["input"]
    if isinstance(given, str) or not given:
        return False
    return kind_of(given[-1]) in ("message", "reasoning") and given[-1].get("status") in _UNFINISHED


def as_chat(body: Body) -> Body:
    """What asks ``/tokenize`` for the prompt of ``body``."""
    request: Body = {"messages": _messages(body)}
    if body.get("model") is not None:
        request["model"] = body["model"]
    if goes_on(body):
        request |= {"add_generation_prompt": False, "continue_final_message": True}
    if tools := _tools(body.get("tools") or ()):
        request["tools"] = tools
    if kwargs := template_kwargs(body, (body.get("reasoning") or {}).get("effort")):
        request["chat_template_kwargs"] = kwargs
    return request


def _messages(body: Body) -> list[Body]:
    messages: list[Body] = []
    if body.get("instructions"):
        messages.append({"role": "system", "content": body["instructions"]})
    given = body["input"]
    if isinstance(given, str):
        return [*messages, {"role": "user", "content": given}]
    # Items of the model's own turn become one message, but for the first after the instructions.
    turns: list[Body] = []
    for item in given:
        _add(item, turns)
    return messages + turns


def _add(item: Body, messages: list[Body]) -> None:
    kind = kind_of(item)
    if kind in ("function_call_output", "custom_tool_call_output"):
        messages.append({"role": "tool", "content": _content(item["output"]), "tool_call_id": item.get("call_id")})
    elif kind == "message" and item["role"] != "assistant":
        messages.append({"role": item["role"], "content": _content(item.get("content"))})
    else:
        name, value = _said(item, kind)
        last = messages[-1] if messages and messages[-1]["role"] == "assistant" else None
        if last is not None and name == "tool_calls":
            last[name] = [*last.get(name, ()), *value]
        elif last is not None and last.get(name) is None:
            last[name] = value
        else:
            messages.append({"role": "assistant", name: value})


def _said(item: Body, kind: str) -> tuple[str, Any]:
    """What an item adds to a message of the model's."""
    if kind == "reasoning":
        texts = item.get("content") or item.get("summary") or [{"text": ""}]
        return "reasoning", texts[0]["text"]
    if kind == "message":
        content = item.get("content")
        if isinstance(content, list):
            content = (content[0].get("text") or "") if content else ""
        return "content", content or ""
    if kind == "custom_tool_call":
        name, arguments = item["name"], json.dumps({"input": item.get("input") or ""}, ensure_ascii=False)
    else:
        name, arguments = item["name"], item["arguments"]
        if item.get("namespace"):
            name = f"{item['namespace']}__{name}"
    call = {"id": item["call_id"], "type": "function", "function": {"name": name, "arguments": arguments}}
    return "tool_calls", [call]


def _content(content: str | list[Body] | None) -> str | list[Body] | None:
    if isinstance(content, list):
        return [{"type": "text", "text": part.get("text") or part.get("refusal") or ""} for part in content]
    return content


def _tools(tools: Sequence[Body]) -> list[Body]:
    shown: list[Body] = []
    for tool in tools:
        if tool["type"] == "namespace":
            inner = (one for one in tool["tools"] if one["type"] == "function")
            shown += [_function(one, f"{tool['name']}__{one['name']}") for one in inner]
        elif tool["type"] == "custom":
            shown.append(_function({"description": tool.get("description"), "parameters": _CUSTOM}, tool["name"]))
        else:
            shown.append(_function(tool, tool["name"]))
    return shown


def _function(tool: Body, name: str) -> Body:
    function = {field: tool.get(field) for field in ("description", "parameters", "strict", "defer_loading")}
    return {"type": "function", "function": {"name": name} | function}
