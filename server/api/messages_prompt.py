"""The prompt of ``/v1/messages``: the chat that vLLM 0.32 makes of a body before it renders it.

As its ``entrypoints/anthropic/serving.py`` does, of bodies that were checked.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from server.api.reading import LEFT_OUT, template_kwargs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server.api.body import Body

# What a chat has by the same name, and what the gateway adds to a request.
_SAMPLED: Final = (
    "cache_salt",
    "max_tokens",
    "stream",
    "temperature",
    "top_k",
    "top_p",
    "vllm_xargs",
    "watermarking",
)


def as_chat(body: Body, *, merged: bool = False, unthinking: str = "none") -> Body:
    """What asks ``/tokenize`` for the prompt of ``body``.

    Args:
        merged: whether instructions between messages go to the head, which vLLM does if its template asks for it.
        unthinking: the effort by which a template is told not to think, which vLLM tries out.
    """
    messages: list[Body] = []
    head = _head(body.get("system"))
    if merged:
        head += [text for message in body["messages"] if message["role"] == "system" for text in _told(message)]
    if head:
        messages.append({"role": "system", "content": "".join(head)})
    for message in body["messages"]:
        if message["role"] != "system":
            messages += _turn(message)
        elif not merged and (text := "".join(_told(message))):
            messages.append({"role": "system", "content": text})
    request: Body = {"messages": messages}
    if body.get("model") is not None:
        request["model"] = body["model"]
    tools = _tools(body)
    if tools is not None:
        request["tools"] = tools
    disabled = (body.get("thinking") or {}).get("type") == "disabled"
    effort = unthinking if disabled else (body.get("output_config") or {}).get("effort")
    if kwargs := template_kwargs(body, effort):
        request["chat_template_kwargs"] = kwargs
    return request


def continuing(body: Body, text: str) -> Body:
    """The chat in which the answer to ``body`` goes on from ``text``, as vLLM asks it of itself."""
    chat = as_chat(body) | {name: body[name] for name in _SAMPLED if body.get(name) is not None}
    if body.get("stop_sequences"):
        chat["stop"] = body["stop_sequences"]
    if body.get("stream"):
        chat["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}
    if not chat.get("tools"):
        chat.pop("tools", None)  # a chat may not have none of them
    else:
        chosen = body.get("tool_choice") or {}
        named = {"type": "function", "function": {"name": chosen.get("name")}}
        chat["tool_choice"] = {"any": "required", "none": "none", "tool": named}.get(chosen.get("type", ""), "auto")
        chat["parallel_tool_calls"] = not chosen.get("disable_parallel_tool_use")
    schema = ((body.get("output_config") or {}).get("format") or {}).get("schema")
    if schema:
        chat["response_format"] = {"type": "json_schema", "json_schema": {"name": "json_schema", "schema": schema}}
    thinking = body.get("thinking") or {}
    if thinking.get("type") == "enabled":
        chat["thinking_token_budget"] = thinking.get("budget_tokens")
    if text:
        chat["messages"] = [*chat["messages"], {"role": "assistant", "content": text}]
        chat |= {"continue_final_message": True, "add_generation_prompt": False}
    return chat


def _head(system: str | list[Body] | None) -> list[str]:
    return [system] if system and isinstance(system, str) else _texts(system)


def _told(message: Body) -> list[str]:
    """The instructions in a message."""
    content = message["content"]
    if isinstance(content, str):
        return [content] if content and not content.startswith(LEFT_OUT) else []
    return _texts(content)


def _texts(blocks: object) -> list[str]:
    if not isinstance(blocks, list):
        return []
    texts = [block.get("text") or "" for block in blocks if block["type"] == "text"]
    return [text for text in texts if text and not text.startswith(LEFT_OUT)]


def _turn(message: Body) -> Iterator[Body]:
    content = message["content"]
    if isinstance(content, str):
        yield {"role": message["role"], "content": content}
        return
    turn: Body = {"role": message["role"]}
    for block in content:
        if block["type"] == "tool_result":
            yield from _result(block)
    if thoughts := [block["thinking"] for block in content if block["type"] == "thinking"]:
        turn["reasoning"] = "".join(thoughts)
    if calls := [_call(block) for block in content if block["type"] == "tool_use"]:
        turn["tool_calls"] = calls
    texts = [block["text"] for block in content if block["type"] == "text" and block["text"]]
    if texts:
        turn["content"] = texts[0] if len(texts) == 1 else [{"type": "text", "text": text} for text in texts]
    if "content" in turn or message["role"] != "user":
        yield turn


def _call(block: Body) -> Body:
    function = {"name": block.get("name") or "", "arguments": json.dumps(block.get("input") or {})}
    return {"id": block.get("id") or "", "type": "function", "function": function}


def _result(block: Body) -> Iterator[Body]:
    content = block.get("content") or ""
    called: Body = {"role": "tool", "tool_call_id": block.get("tool_use_id") or ""}
    if isinstance(content, str):
        yield called | {"content": content}
        return
    yield called | {"content": "\n".join(item["text"] for item in content if item["type"] == "text")}
    names = [item.get("tool_name") or item.get("name") for item in content if item["type"] == "tool_reference"]
    if references := [{"type": "tool_reference", "name": name} for name in names if name]:
        yield called | {"content": references}


def _tools(body: Body) -> list[Body] | None:
    """The tools in effect at the end of the conversation."""
    given: list[Body] | None = body.get("tools")
    changes = [
        block
        for message in body["messages"]
        if isinstance(message["content"], list)
        for block in message["content"]
        if block["type"] in ("tool_addition", "tool_removal")
    ]
    if not changes:
        return None if given is None else [_function(tool) for tool in given]
    tools = {tool["name"]: tool for tool in given or ()}
    removed: set[str] = set()
    for block in changes:
        change = block["tool"]
        if change.get("type") == "tool_definition":
            tool = change["definition"]
        else:
            tool = tools.get(change["name"], change)
            if block["type"] == "tool_addition":
                tool = {name: value for name, value in tool.items() if name != "defer_loading"}
        tools[tool["name"]] = tool
        if block["type"] == "tool_removal":
            removed.add(tool["name"])
        else:
            removed.discard(tool["name"])
    return [_function(tool) for name, tool in tools.items() if name not in removed]


def _function(tool: Body) -> Body:
    schema = tool.get("input_schema") or {}
    function = {
        "name": tool["name"],
        "description": tool.get("description"),
        "parameters": schema if "type" in schema else schema | {"type": "object"},
        "strict": tool.get("strict"),
        "defer_loading": tool.get("defer_loading"),
    }
    return {"type": "function", "function": function}
