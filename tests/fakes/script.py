"""A model that says what it is told to say, in vLLM's wire formats, and something else where it is restricted."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.fakes.upstream import Received, Reply, anthropic, prompt_text
from tests.fakes.wire import CHAT, GENERATING, MESSAGES, OTHERS, RESPONSES, Said, Wire, as_asked

_TOKEN = re.compile(r"\s?\w{1,3}|\s|[^\w\s]")


@dataclass
class Script:
    """The handler of a fake upstream.

    ``says`` is its answer; a request that restricts phrases, and asks it to go on, gets the next of
    ``otherwise`` instead, after whatever the request has it go on from.
    """

    says: str | dict[int, str]
    otherwise: list[str] = field(default_factory=list)
    arguments: str | None = None
    """If set, it calls a tool with these arguments, and what ``otherwise`` holds are others."""
    thinks: list[str] = field(default_factory=list)
    """What it reasons before each of its answers."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    refuses_to_go_on: bool = False
    stopped: str | int | None = None
    """If set, the stop string or token that ended ``says``."""

    def __call__(self, request: Received) -> Reply | None:
        path, body = request.path, request.body if request.raw else {}
        if path not in GENERATING or body.get("max_tokens") == 1 == body.get("logprobs"):
            return None  # the last is a proof
        self.requests.append(body)
        chat = path == CHAT
        restricted = "unremember_phrases" in (body.get("vllm_xargs") or {})
        if restricted and self.refuses_to_go_on:
            no = Reply(400, b'{"error":{"message":"no","type":"BadRequestError","param":null,"code":400}}')
            return anthropic(no) if path == MESSAGES else no
        thought = _TOKEN.findall(self.thinks.pop(0)) if self.thinks else []
        choices = [self._tokens(body, index, restricted=restricted) for index in range(body.get("n") or 1)]
        prompt = len(prompt_text(as_asked(path, body)))
        if path in (RESPONSES, MESSAGES):
            said = Said(*choices[0], call="note" if self.arguments is not None else "")
            said.thought = thought
            said.stopped = "" if restricted or not isinstance(self.stopped, str) else self.stopped
            wire = Wire(path, body, said, prompt, len(self.requests))
            if body.get("stream"):
                return Reply(chunks=wire.chunks(), content_type="text/event-stream; charset=utf-8")
            return Reply(body=wire.whole())
        count = sum(len(tokens) for tokens, _ in choices)
        usage = {"prompt_tokens": prompt, "total_tokens": prompt + count, "completion_tokens": count}
        if body.get("stream"):
            stopped = None if restricted else self.stopped
            chunks = self._chunks(body, choices, usage, thought, stopped=stopped, chat=chat)
            return Reply(chunks=chunks, content_type="text/event-stream; charset=utf-8")
        whole = {
            "id": f"id-{len(self.requests)}",
            "object": "chat.completion" if chat else "text_completion",
            "created": len(self.requests),
            "model": body["model"],
            "choices": [
                self._choice(index, *one, body, chat=chat) | {"stop_reason": None if restricted else self.stopped}
                for index, one in enumerate(choices)
            ],
            "usage": usage,
        }
        for choice in whole["choices"] if thought else ():
            choice["message"]["reasoning"] = "".join(thought)
        return Reply(body=orjson.dumps(whole))

    def _tokens(self, body: dict[str, Any], index: int, *, restricted: bool) -> tuple[list[str], str]:
        if restricted:
            text = self.otherwise.pop(0) if self.otherwise else "."
        elif self.arguments is not None:
            text = self.arguments
        else:
            text = self.says if isinstance(self.says, str) else self.says[index]
        tokens = _TOKEN.findall(text)
        assert "".join(tokens) == text
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or body.get("max_output_tokens") or 10_000
        return (tokens[:limit], "stop" if len(tokens) <= limit else "length")

    def _choice(
        self, index: int, tokens: list[str], reason: str, body: dict[str, Any], *, chat: bool
    ) -> dict[str, Any]:
        text = "".join(tokens)
        if not chat:
            shown: dict[str, Any] = {"text": text}
        elif self.arguments is not None:
            shown = {"message": {"role": "assistant", "content": None, "tool_calls": [_call(text)]}}
        else:
            shown = {"message": {"role": "assistant", "content": text, "tool_calls": []}}
        return {"index": index, **shown, "logprobs": _logprobs(tokens, body, chat=chat), "finish_reason": reason}

    def _chunks(
        self,
        body: dict[str, Any],
        choices: list[tuple[list[str], str]],
        usage: dict[str, Any],
        thought: list[str],
        *,
        stopped: str | int | None,
        chat: bool,
    ) -> list[bytes]:
        number = len(self.requests)
        head = {
            "id": f"id-{number}",
            "object": "chat.completion.chunk" if chat else "text_completion",
            "created": number,
            "model": body["model"],
        }
        chunks: list[dict[str, Any]] = []
        if chat:
            for index in range(len(choices)):
                first = {"index": index, "delta": {"role": "assistant", "content": ""}, "logprobs": None}
                chunks.append(head | {"choices": [first | {"finish_reason": None}]})
        for token in thought:
            chunks += [
                head | {"choices": [{"index": index, "delta": {"reasoning": token}, "finish_reason": None}]}
                for index in range(len(choices))
            ]
        for place in range(max(len(tokens) for tokens, _ in choices)):
            for index, (tokens, _) in enumerate(choices):
                if place < len(tokens):
                    token = tokens[place]
                    if not chat:
                        shown: dict[str, Any] = {"text": token}
                    elif self.arguments is not None:
                        shown = {"delta": {"tool_calls": [_call(token)]}}
                    else:
                        shown = {"delta": {"content": token}}
                    logprobs = _logprobs([token], body, chat=chat, before="".join(tokens[:place]))
                    chunks.append(
                        head | {"choices": [{"index": index, **shown, "logprobs": logprobs, "finish_reason": None}]}
                    )
        for index, (_, reason) in enumerate(choices):
            last: dict[str, Any] = {"index": index, **({"delta": {}} if chat else {"text": ""})}
            last |= {"logprobs": None, "finish_reason": reason, "stop_reason": stopped}
            chunks.append(head | {"choices": [last], "system_fingerprint": "fp"})
        if (body.get("stream_options") or {}).get("include_usage"):
            chunks.append(head | {"choices": [], "usage": usage})
        return [b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks] + [b"data: [DONE]\n\n"]


def _call(arguments: str) -> dict[str, Any]:
    return {"index": 0, "id": "call-1", "type": "function", "function": {"name": "note", "arguments": arguments}}


def _logprobs(tokens: list[str], body: dict[str, Any], *, chat: bool, before: str = "") -> dict[str, Any] | None:
    wanted = body.get("top_logprobs") if chat else body.get("logprobs")
    if not body.get("logprobs"):
        return None
    if chat:
        return {
            "content": [
                {
                    "token": token,
                    "logprob": -0.5,
                    "bytes": list(token.encode()),
                    "top_logprobs": [
                        {"token": other, "logprob": -0.5 - place, "bytes": list(other.encode())}
                        for place, other in enumerate([token, *OTHERS][: wanted or 0])
                    ],
                }
                for token in tokens
            ]
        }
    return {
        "text_offset": [len(before + "".join(tokens[:place])) for place in range(len(tokens))],
        "token_logprobs": [-0.5] * len(tokens),
        "tokens": tokens,
        "top_logprobs": [
            {other: -0.5 - place for place, other in enumerate([token, *OTHERS][: wanted or 0])} for token in tokens
        ],
    }
