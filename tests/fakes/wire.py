"""Answers of `/v1/responses` and `/v1/messages` as vLLM 0.32 wrote them: recorded, with other texts put in."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import orjson

from server.api.messages_prompt import as_chat as messages_chat
from server.api.responses_prompt import as_chat as responses_chat

RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"
CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
GENERATING = (CHAT, COMPLETIONS, RESPONSES, MESSAGES)


def as_asked(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The chat, or the completion, that an upstream makes of a body."""
    if path == RESPONSES:
        return responses_chat(body)
    return messages_chat(body) if path.startswith(MESSAGES) else body


@dataclass
class Said:
    """What a model said, in tokens, and why it stopped."""

    tokens: list[str]
    reason: str = "stop"
    call: str = ""
    """The name of the tool that it calls with what it says."""
    stopped: str = ""
    """The stop string that ended it."""
    thought: list[str] = field(default_factory=list)
    """What it reasoned before, in tokens."""

    @property
    def text(self) -> str:
        return "".join(self.tokens)


@dataclass
class Wire:
    """Writes one answer. ``number`` makes its ids, ``prompt`` is its prompt's number of tokens."""

    path: str
    body: dict[str, Any]
    said: Said
    prompt: int
    number: int = 1

    def whole(self) -> bytes:
        answer = self._response(self._items(), done=True) if self.path == RESPONSES else self._message()
        # JSONResponse of starlette
        return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()

    def chunks(self) -> list[bytes]:
        events = self._response_events() if self.path == RESPONSES else self._message_events()
        return [b"event: " + event["type"].encode() + b"\ndata: " + orjson.dumps(event) + b"\n\n" for event in events]

    def _items(self) -> list[dict[str, Any]]:
        thoughts = [self._thought()] if self.said.thought else []
        if self.said.call:
            return [*thoughts, self._call(self.said.text, "completed")]
        return [*thoughts, self._said()] if self.said.text else thoughts

    def _thought(self) -> dict[str, Any]:
        content = [{"text": "".join(self.said.thought), "type": "reasoning_text"}]
        thought = {"id": f"rs_{self.number}", "summary": [], "type": "reasoning", "content": content}
        return thought | {"encrypted_content": None, "status": None}

    def _call(self, arguments: str, status: str) -> dict[str, Any]:
        return {
            "arguments": arguments,
            "call_id": f"chatcmpl-tool-{self.number}",
            "name": self.said.call,
            "type": "function_call",
            "id": f"fc_{self.number}",
            "async": None,
            "caller": None,
            "namespace": None,
            "status": status,
        }

    def _part(self) -> dict[str, Any]:
        return {
            "annotations": [],
            "text": self.said.text,
            "type": "output_text",
            "logprobs": [self._logprob(token, whole=True) for token in self.said.tokens] if self._scored else None,
        }

    def _said(self) -> dict[str, Any]:
        return {
            "id": f"msg_{self.number}",
            "content": [self._part()],
            "role": "assistant",
            "status": "completed",
            "type": "message",
            "phase": None,
        }

    @property
    def _scored(self) -> bool:
        return "message.output_text.logprobs" in (self.body.get("include") or ())

    def _logprob(self, token: str, *, whole: bool) -> dict[str, Any]:
        def entry(text: str, logprob: float) -> dict[str, Any]:
            return {"token": text} | ({"bytes": list(text.encode())} if whole else {}) | {"logprob": logprob}

        shown = [token, *OTHERS][: self.body.get("top_logprobs") or 0]
        alternatives = [entry(text, -0.5 - place) for place, text in enumerate(shown)]
        return entry(token, -0.5) | {"top_logprobs": alternatives}

    def _response(self, items: list[dict[str, Any]], *, done: bool) -> dict[str, Any]:
        body = self.body
        cut = self.said.reason == "length"
        usage: dict[str, Any] = {
            "input_tokens": self.prompt,
            "input_tokens_details": {
                "cached_tokens": 0,
                "cache_write_tokens": 0,
                "input_tokens_per_turn": [],
                "cached_tokens_per_turn": [],
            },
            "output_tokens": len(self.said.tokens),
            "output_tokens_details": {
                "reasoning_tokens": 0,
                "tool_output_tokens": 0,
                "output_tokens_per_turn": [],
                "tool_output_tokens_per_turn": [],
            },
            "total_tokens": self.prompt + len(self.said.tokens),
        }
        room = 4096 - self.prompt
        return {
            "id": f"resp_{self.number}",
            "created_at": self.number,
            "incomplete_details": {"reason": "max_output_tokens"} if done and cut else None,
            "instructions": body.get("instructions"),
            "metadata": body.get("metadata"),
            "model": body["model"],
            "object": "response",
            "output": items,
            "parallel_tool_calls": True,
            "temperature": 0.0,
            "tool_choice": body.get("tool_choice") or "none",
            "tools": body.get("tools") or [],
            "top_p": 1.0,
            "background": False,
            "max_output_tokens": min(body.get("max_output_tokens") or room, room),
            "max_tool_calls": None,
            "previous_response_id": None,
            "prompt": None,
            "reasoning": None,
            "service_tier": "auto",
            "status": ("incomplete" if cut else "completed") if done else "in_progress",
            "text": body.get("text"),
            "top_logprobs": body.get("top_logprobs") if self._scored else None,
            "truncation": "disabled",
            "usage": usage if done else None,
            "user": body.get("user"),
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "kv_transfer_params": None,
            "ec_transfer_params": None,
            "input_messages": None,
            "output_messages": None,
        }

    def _response_events(self) -> list[dict[str, Any]]:
        begun = self._response([], done=False)
        events: list[dict[str, Any]] = [
            {"response": begun, "type": "response.created"},
            {"response": begun, "type": "response.in_progress"},
        ]
        events += self._thought_events() if self.said.thought else []
        events += self._call_events() if self.said.call else self._text_events() if self.said.text else []
        events.append({"response": self._response(self._items(), done=True), "type": "response.completed"})
        numbered = [event | {"sequence_number": number} for number, event in enumerate(events)]
        # As pydantic orders them.
        return [dict(sorted(event.items(), key=lambda one: (one[0] == "name", one[0]))) for event in numbered]

    def _thought_events(self) -> list[dict[str, Any]]:
        place = {"content_index": 0, "item_id": f"rs_{self.number}", "output_index": 0}
        begun = self._thought() | {"content": None, "status": "in_progress"}
        (part,) = self._thought()["content"]
        return [
            {"item": begun, "output_index": 0, "type": "response.output_item.added"},
            {**place, "part": part | {"text": ""}, "type": "response.content_part.added"},
            *({**place, "delta": token, "type": "response.reasoning_text.delta"} for token in self.said.thought),
            {**place, "text": part["text"], "type": "response.reasoning_text.done"},
            {**place, "part": part, "type": "response.content_part.done"},
            {"item": self._thought(), "output_index": 0, "type": "response.output_item.done"},
        ]

    def _text_events(self) -> list[dict[str, Any]]:
        item, index = f"msg_{self.number}", int(bool(self.said.thought))
        place = {"content_index": 0, "item_id": item, "output_index": index}
        begun = self._said() | {"content": [], "status": "in_progress"}
        empty = {"annotations": [], "text": "", "type": "output_text", "logprobs": []}
        return [
            {"item": begun, "output_index": index, "type": "response.output_item.added"},
            {**place, "part": empty, "type": "response.content_part.added"},
            *(
                {
                    "content_index": 0,
                    "delta": token,
                    "item_id": item,
                    "logprobs": [self._logprob(token, whole=False)] if self._scored else [],
                    "output_index": index,
                    "type": "response.output_text.delta",
                }
                for token in self.said.tokens
            ),
            {**place, "logprobs": [], "text": self.said.text, "type": "response.output_text.done"},
            {**place, "part": self._part(), "type": "response.content_part.done"},
            {"item": self._said(), "output_index": index, "type": "response.output_item.done"},
        ]

    def _call_events(self) -> list[dict[str, Any]]:
        place = {"item_id": f"fc_{self.number}", "output_index": 0}
        kind = "response.function_call_arguments"
        done = {"arguments": self.said.text, **place, "name": self.said.call, "type": f"{kind}.done"}
        return [
            {"item": self._call("", "in_progress"), "output_index": 0, "type": "response.output_item.added"},
            *({"delta": token, **place, "type": f"{kind}.delta"} for token in self.said.tokens),
            done,
            {"item": self._call(self.said.text, "completed"), "output_index": 0, "type": "response.output_item.done"},
        ]

    def _message(self) -> dict[str, Any]:
        block: dict[str, Any] = {"type": "text", "text": self.said.text}
        if self.said.call:
            block = self._use() | {"input": orjson.loads(self.said.text)}
        return {
            "id": f"chatcmpl-{self.number}",
            "type": "message",
            "role": "assistant",
            "content": [*([self._thinking("".join(self.said.thought))] if self.said.thought else []), block],
            "model": self.body["model"],
            "stop_reason": self._stop_reason,
            **({"stop_sequence": self.said.stopped} if self.said.stopped else {}),
            "usage": {"input_tokens": self.prompt, "output_tokens": len(self.said.tokens)},
        }

    @staticmethod
    def _thinking(text: str) -> dict[str, Any]:
        return {"type": "thinking", "thinking": text, "signature": "0"}

    def _use(self) -> dict[str, Any]:
        return {"type": "tool_use", "id": f"chatcmpl-tool-{self.number}", "name": self.said.call, "input": {}}

    @property
    def _stop_reason(self) -> str:
        if self.said.reason == "length":
            return "max_tokens"
        return "stop_sequence" if self.said.stopped else "tool_use" if self.said.call else "end_turn"

    def _message_events(self) -> list[dict[str, Any]]:
        begun = self._message() | {"content": [], "stop_reason": None}
        del begun["usage"]
        begun |= {"stop_sequence": None, "usage": {"input_tokens": self.prompt, "output_tokens": 0}}
        events: list[dict[str, Any]] = [{"type": "message_start", "message": begun}]
        if self.said.thought:
            events.append({"type": "content_block_start", "content_block": self._thinking(""), "index": 0})
            deltas = [{"type": "thinking_delta", "thinking": token} for token in self.said.thought]
            deltas.append({"type": "signature_delta", "signature": "0"})
            events += [{"type": "content_block_delta", "delta": delta, "index": 0} for delta in deltas]
            events.append({"type": "content_block_stop", "index": 0})
        index = int(bool(self.said.thought))
        if self.said.tokens:
            block = self._use() if self.said.call else {"type": "text", "text": ""}
            kind, name = ("input_json_delta", "partial_json") if self.said.call else ("text_delta", "text")
            events.append({"type": "content_block_start", "content_block": block, "index": index})
            events += [
                {"type": "content_block_delta", "delta": {"type": kind, name: token}, "index": index}
                for token in self.said.tokens
            ]
            events.append({"type": "content_block_stop", "index": index})
        usage = {"input_tokens": self.prompt, "output_tokens": len(self.said.tokens)}
        delta = {"stop_reason": self._stop_reason, "stop_sequence": self.said.stopped or None}
        return [*events, {"type": "message_delta", "delta": delta, "usage": usage}, {"type": "message_stop"}]


OTHERS = (" Rowling", " Tolkien", " one", " two", " three", " four", " five", " six", " seven", " eight")
