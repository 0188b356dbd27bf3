"""How a test asks each generating endpoint, and what it reads of the answer."""

from __future__ import annotations

import json
from typing import Any

from tests.fakes.upstream import MODEL
from tests.fakes.wire import CHAT, COMPLETIONS, MESSAGES, RESPONSES


def asked(path: str, text: str = "tell me a story", /, *, limit: int | None = 200, **fields: Any) -> dict[str, Any]:
    """A body that asks ``text``, with at most ``limit`` tokens to answer."""
    user = [{"role": "user", "content": text}]
    prompt: dict[str, Any] = {"messages": user}
    if path == COMPLETIONS:
        prompt = {"prompt": text}
    elif path == RESPONSES:
        prompt = {"input": text}
    bound = {} if limit is None else {"max_output_tokens" if path == RESPONSES else "max_tokens": limit}
    return {"model": MODEL, **prompt, **bound} | fields


def begun(path: str, text: str, beginning: str, /, **fields: Any) -> dict[str, Any]:
    """A body that asks ``text`` and begins the answer, to be gone on with where the API can say so."""
    user = {"role": "user", "content": text}
    if path == RESPONSES:
        said = [{"type": "output_text", "text": beginning, "annotations": []}]
        turn = {"type": "message", "id": "msg_0", "role": "assistant", "status": "incomplete", "content": said}
        return asked(path, **fields) | {"input": [user, turn]}
    if path == COMPLETIONS:
        return asked(path, beginning, **fields)
    body = asked(path, **fields) | {"messages": [user, {"role": "assistant", "content": beginning}]}
    return body | ({"continue_final_message": True, "add_generation_prompt": False} if path == CHAT else {})


def streamed(raw: bytes) -> bool:
    """Whether an answer is a stream."""
    return raw.startswith((b"data: ", b"event: "))


def events(path: str, raw: bytes) -> list[dict[str, Any]]:
    """What the events of a complete stream carry."""
    parts = raw.split(b"\n\n")
    assert parts.pop() == b""
    if path in (CHAT, COMPLETIONS):
        assert parts.pop() == b"data: [DONE]"
        return [json.loads(part.removeprefix(b"data: ")) for part in parts]
    found = []
    for part in parts:
        name, data = part.split(b"\n")
        found.append(json.loads(data.removeprefix(b"data: ")))
        assert name.removeprefix(b"event: ").decode() == found[-1]["type"]
    assert found[-1]["type"] == ("message_stop" if path == MESSAGES else "response.completed")
    return found


def answers(path: str, raw: bytes) -> list[dict[str, Any]]:
    """Every JSON object of an answer, streamed or whole."""
    return events(path, raw) if streamed(raw) else [json.loads(raw)]


def told(path: str, raw: bytes, choice: int = 0) -> str:
    """The text of a choice. What an API says several times must be the same each time."""
    if path == RESPONSES:
        return _told_by_responses(raw)
    if path == MESSAGES:
        return _told_by_messages(raw)
    texts = []
    for answer in answers(path, raw):
        for one in answer["choices"]:
            if one["index"] == choice:
                shown = one.get("delta") or one.get("message") or one
                texts.append(shown.get("content") or shown.get("text") or "")
    return "".join(texts)


def reason(path: str, raw: bytes, choice: int = 0) -> str:
    """Why a choice ended, in OpenAI's word."""
    found = answers(path, raw)
    if path == RESPONSES:
        last = found[-1].get("response") or found[-1]
        assert (last["status"] == "incomplete") == bool(last["incomplete_details"])
        return {"completed": "stop", "incomplete": "length"}[last["status"]]
    if path == MESSAGES:
        (stopped,) = [one for one in found if one["type"] in ("message", "message_delta")]
        said = stopped.get("delta") or stopped
        assert said.get("stop_sequence") is None
        return {"end_turn": "stop", "max_tokens": "length", "tool_use": "stop"}[said["stop_reason"]]
    reasons = [one["finish_reason"] for each in found for one in each["choices"] if one["index"] == choice]
    assert [each for each in reasons if each] == reasons[-1:]
    return str(reasons[-1])


def called(path: str, raw: bytes) -> str:
    """The arguments of the only tool call."""
    if path == RESPONSES:
        (item,) = [item for item in _items(raw) if "arguments" in item]
        return str(item["arguments"])
    found = answers(path, raw)
    if path == MESSAGES:
        if not streamed(raw):
            return json.dumps(found[0]["content"][-1]["input"])
        return "".join((one.get("delta") or {}).get("partial_json") or "" for one in found)
    calls = [
        call["function"].get("arguments") or ""
        for answer in found
        for choice in answer["choices"]
        for call in (choice.get("delta") or choice.get("message") or {}).get("tool_calls") or ()
    ]
    return "".join(calls)


def reasoning(path: str, raw: bytes) -> str:
    """What an answer gives as reasoning, whole or streamed."""
    if raw.startswith(b"{"):
        answer = json.loads(raw)
        if path == CHAT:
            return answer["choices"][0]["message"].get("reasoning") or ""
        if path == MESSAGES:
            return "".join(block.get("thinking", "") for block in answer["content"])
        parts = [part for item in answer["output"] for part in item.get("content", ())]
        return "".join(part["text"] for part in parts if part["type"] == "reasoning_text")
    found = events(path, raw)
    if path == CHAT:
        return "".join(choice["delta"].get("reasoning", "") for event in found for choice in event["choices"])
    if path == MESSAGES:
        return "".join(event["delta"].get("thinking", "") for event in found if "delta" in event)
    return "".join(event["delta"] for event in found if event["type"] == "response.reasoning_text.delta")


def usage(path: str, raw: bytes) -> tuple[int, int]:
    """Tokens of the prompt and of the answer. Every account must agree."""
    found = answers(path, raw)
    if path == RESPONSES:
        counts = (found[-1].get("response") or found[-1])["usage"]
        assert counts["total_tokens"] == counts["input_tokens"] + counts["output_tokens"]
        return counts["input_tokens"], counts["output_tokens"]
    if path == MESSAGES:
        counted = [one.get("usage") or one["message"]["usage"] for one in found if "usage" in one or "message" in one]
        assert len({counts["input_tokens"] for counts in counted}) == 1
        return counted[-1]["input_tokens"], counted[-1]["output_tokens"]
    counts = found[-1]["usage"]
    assert counts["total_tokens"] == counts["prompt_tokens"] + counts["completion_tokens"]
    return counts["prompt_tokens"], counts["completion_tokens"]


def _items(raw: bytes) -> list[dict[str, Any]]:
    """The output of a response. A stream must tell a consistent story of it."""
    if not streamed(raw):
        return list(json.loads(raw)["output"])
    found = events(RESPONSES, raw)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    assert (
        len(
            {
                json.dumps([event["response"][name] for name in ("id", "created_at")])
                for event in found
                if "response" in event
            }
        )
        == 1
    )
    added = [event for event in found if event["type"] == "response.output_item.added"]
    done = [event for event in found if event["type"] == "response.output_item.done"]
    items: list[dict[str, Any]] = found[-1]["response"]["output"]
    assert [event["output_index"] for event in added] == [event["output_index"] for event in done]
    assert [event["item"]["id"] for event in added] == [item["id"] for item in items]
    assert [event["item"] for event in done] == items
    for index, item in enumerate(items):
        mine = [event for event in found if event.get("output_index") == index]
        assert {event["item_id"] for event in mine if "item_id" in event} <= {item["id"]}
        deltas = "".join(event["delta"] for event in mine if "delta" in event)
        assert deltas == (
            item["arguments"] if "arguments" in item else "".join(part["text"] for part in item["content"])
        )
        assert {event["text"] for event in mine if "text" in event} <= {deltas}
        assert {event["part"]["text"] for event in mine if event["type"].endswith("part.done")} <= {deltas}
    return items


def _told_by_responses(raw: bytes) -> str:
    return "".join(part["text"] for item in _items(raw) if item["type"] == "message" for part in item["content"])


def _told_by_messages(raw: bytes) -> str:
    if not streamed(raw):
        return "".join(block.get("text", "") for block in json.loads(raw)["content"])
    found = events(MESSAGES, raw)
    assert [event["type"] for event in found[:1] + found[-2:]] == ["message_start", "message_delta", "message_stop"]
    texts: list[str] = []
    index = -1
    opened = False
    for event in found[1:-2]:
        if event["type"] == "content_block_start":
            assert not opened
            index, opened = index + 1, True
        elif event["type"] == "content_block_stop":
            opened = False
        else:
            assert opened
            texts.append(event["delta"].get("text", ""))
        assert event["index"] == index
    assert not opened
    return "".join(texts)


def formatted(path: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Fields that hold an answer to a JSON schema."""
    if path == RESPONSES:
        return {"text": {"format": {"type": "json_schema", "name": "n", "schema": schema}}}
    if path == MESSAGES:
        return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}}


def tooled(path: str, name: str = "note", schema: dict[str, Any] | None = None) -> dict[str, Any]:
    """Fields that give a tool, with a schema of its arguments."""
    if path == MESSAGES:
        return {"tools": [{"name": name, "input_schema": schema or {}}]}
    function = {"name": name} | ({} if schema is None else {"parameters": schema})
    if path == RESPONSES:
        return {"tools": [{"type": "function", **function}]}
    return {"tools": [{"type": "function", "function": function}]}


def scored(path: str, number: int) -> dict[str, Any]:
    """Fields that ask for log-probabilities, with alternatives."""
    if path == RESPONSES:
        return {"include": ["message.output_text.logprobs"], "top_logprobs": number}
    return {"logprobs": number} if path == COMPLETIONS else {"logprobs": True, "top_logprobs": number}


def alternatives(path: str, raw: bytes) -> list[int]:
    """How many alternatives each token has, each time that it is listed."""
    found: list[int] = []

    def look(value: object) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                if name == "top_logprobs" and isinstance(inner, list):
                    # Each token's own list, or a list of those of all.
                    found.extend(map(len, inner) if path == COMPLETIONS else [len(inner)])
                else:
                    look(inner)
        elif isinstance(value, list):
            for inner in value:
                look(inner)

    look(answers(path, raw))
    return found
