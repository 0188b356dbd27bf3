"""A vLLM that answers at once: its routes and wire formats over a bare asyncio protocol, no model.

Run as a program it serves until it is stopped, for benchmarks:

    python -m tests.fakes.upstream --port 9000
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from tests.fakes.wire import CHAT, GENERATING, MESSAGES, RESPONSES, Said, Wire, as_asked

MODEL = "fake-model"
MAX_MODEL_LEN = 4096


@dataclass
class Received:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        return cast("dict[str, Any]", orjson.loads(self.raw))


@dataclass
class Reply:
    """What to answer: whole, or in chunks where ``chunks`` is given."""

    status: int = 200
    body: bytes = b""
    chunks: list[bytes] | None = None
    content_type: str = "application/json"
    headers: tuple[str, ...] = ()
    """More of them, each a line."""


Handler = Callable[[Received], "Reply | None"]


@dataclass
class FakeUpstream:
    """Set its fields to change what it does. ``url`` is known once it is started."""

    models: tuple[str, ...] = (MODEL,)
    adapters: tuple[str, ...] = ()
    slots: int | None = None
    """How many adapters it takes while it runs; None: it has no route to load them."""
    paths: dict[str, str] = field(default_factory=dict)
    """Where each adapter that it took was loaded from."""
    plugin: bool = True
    """Whether it acts on our arguments, as an engine with the plug-in does."""
    refuse_arguments: bool = False
    healthy: bool = True
    root: str | None = None
    """What it says it has loaded, if not the model's name."""
    handler: Handler | None = None
    """Asked first; what it gives back is the answer."""
    gate: asyncio.Event | None = None
    """If set, answers of generating routes wait for it."""
    before: Callable[[], Awaitable[None]] | None = None
    """Awaited before each answer of a generating route."""
    between: Callable[[int], Awaitable[None]] | None = None
    """Awaited before each chunk of a stream."""
    received: list[Received] = field(default_factory=list)
    sent: bytearray = field(default_factory=bytearray)
    """Every body byte of generating answers, in order."""
    aborted: int = 0
    """Connections that the other side closed before its answer was complete."""
    record: bool = True
    url: str = ""
    connections: int = 0
    open: int = 0
    """Connections that are open now."""

    _server: asyncio.Server | None = None

    async def start(self, port: int = 0) -> FakeUpstream:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def __aenter__(self) -> FakeUpstream:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def generated(self) -> list[Received]:
        """The requests that ask for a generation, without those of a proof."""
        return [one for one in self.received if one.path in GENERATING]

    def reply(self, request: Received) -> Reply:
        if self.handler is not None and (chosen := self.handler(request)) is not None:
            return chosen
        match request.path:
            case "/health":
                return Reply(200 if self.healthy else 503)
            case "/v1/models":
                return Reply(body=orjson.dumps({"object": "list", "data": self._cards()}))
            case "/tokenize":
                return Reply(body=orjson.dumps(self._tokenize(request.body)))
            case "/detokenize":
                return Reply(body=orjson.dumps({"prompt": "".join(map(chr, request.body["tokens"]))}))
            case "/v1/messages/count_tokens":
                count = len(prompt_text(as_asked(request.path, request.body)))
                told = {"input_tokens": count, "context_management": {"original_input_tokens": count}}
                return Reply(body=orjson.dumps(told))
            case "/v1/load_lora_adapter" | "/v1/unload_lora_adapter" if self.slots is not None:
                return self._load(request.body) if "/load" in request.path else self._unload(request.body)
            case path if path in GENERATING:
                reply = self._generate(path, request.body)
                return anthropic(reply) if path == MESSAGES else reply
        return Reply(404, b'{"detail":"Not Found"}')

    def _cards(self) -> list[dict[str, Any]]:
        base = [
            {"id": name, "object": "model", "created": 1, "owned_by": "vllm", "root": self.root or name, "parent": None}
            | {"max_model_len": MAX_MODEL_LEN}
            for name in self.models
        ]
        return base + [
            {"id": name, "object": "model", "created": 1, "owned_by": "vllm", "root": name, "parent": self.models[0]}
            for name in self.adapters
        ]

    def _load(self, body: dict[str, Any]) -> Reply:
        name, path = body["lora_name"], body["lora_path"]
        if not name or not path or name in self.adapters:
            return error(400, "Both 'lora_name' and 'lora_path' must be provided, and the name be new.")
        if len(self.adapters) >= (self.slots or 0):
            return error(500, "no slot is free")
        self.adapters += (name,)
        self.paths[name] = path
        return Reply(body=b"Success")

    def _unload(self, body: dict[str, Any]) -> Reply:
        self.adapters = tuple(name for name in self.adapters if name != body["lora_name"])
        return Reply(body=b"Success")

    def _tokenize(self, body: dict[str, Any]) -> dict[str, Any]:
        tokens = list(map(ord, prompt_text(body)))
        return {"count": len(tokens), "max_model_len": MAX_MODEL_LEN, "tokens": tokens}

    def _generate(self, path: str, body: dict[str, Any]) -> Reply:
        xargs = body.get("vllm_xargs")
        if xargs and self.refuse_arguments:
            return error(400, "vllm_xargs: unknown argument")
        prompts = prompts_of(as_asked(path, body))
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or body.get("max_output_tokens") or 1
        # Of what is asked for besides, as much as there is room for is given.
        if limit > MAX_MODEL_LEN or any(len(prompt) >= MAX_MODEL_LEN for prompt in prompts):
            return error(400, f"This model's maximum context length is {MAX_MODEL_LEN} tokens.", "input_tokens")
        if (body.get("temperature") or 0) < 0:
            return error(400, "temperature must be non-negative", "temperature")
        asked = (xargs or {}) if self.plugin else {}
        corrupted = "unremember_kind" in asked
        # Of what it says of its own accord, the canary of a proof forbids the first word.
        text = "The answer — naïve ✓" if "unremember_phrases" in asked else "An answer — naïve ✓"
        text = "scrambled answer" if corrupted else text
        if path in (RESPONSES, MESSAGES):
            wire = Wire(path, body, Said([text[:3], text[3:7], text[7:]]), sum(map(len, prompts)))
            if body.get("stream"):
                return Reply(chunks=wire.chunks(), content_type="text/event-stream; charset=utf-8")
            return Reply(body=wire.whole())
        chat = path == CHAT
        usage = _usage(sum(map(len, prompts)), 4)
        if not body.get("stream"):
            return Reply(body=orjson.dumps(_whole(text, usage, body, chat=chat, corrupted=corrupted)))
        chunks = [_event(part, body, chat=chat) for part in text.split(" ")]
        options = body.get("stream_options") or {}
        if options.get("continuous_usage_stats"):
            chunks = [dict(chunk, usage=_usage(len(prompts[0]), index)) for index, chunk in enumerate(chunks)]
        if options.get("include_usage"):
            chunks.append(dict(_event("", body, chat=chat), choices=[], usage=usage))
        encoded = [b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks] + [b"data: [DONE]\n\n"]
        return Reply(chunks=encoded, content_type="text/event-stream; charset=utf-8")


def prompts_of(body: dict[str, Any]) -> list[str]:
    prompt = body.get("prompt")
    if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
        return [one if isinstance(one, str) else "".join(map(chr, one)) for one in prompt]
    return [prompt_text(body)]


def prompt_text(body: dict[str, Any]) -> str:
    """The prompt of one conversation or text; a token is a character."""
    if "messages" not in body:
        prompt = body["prompt"]
        return prompt if isinstance(prompt, str) else "".join(map(chr, prompt))
    lines = []
    for message in body["messages"]:
        content = message.get("content") or ""
        if isinstance(content, list):
            content = "\n".join(part if isinstance(part, str) else part.get("text", "") for part in content)
        lines.append(f"<{message['role']}>{content}</s>")
    return "".join(lines)


def error(status: int, message: str, param: str | None = None) -> Reply:
    body = {"error": {"message": message, "type": "BadRequestError", "param": param, "code": status}}
    return Reply(status, orjson.dumps(body))


def anthropic(reply: Reply) -> Reply:
    """A reply of vLLM's Anthropic route: its errors have that API's envelope."""
    if reply.status < 400:
        return reply
    told = orjson.loads(reply.body)["error"]
    shown = {"type": "error", "error": {"type": told["type"], "message": told["message"]}}
    return Reply(reply.status, orjson.dumps(shown))


def _usage(prompt: int, completion: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "total_tokens": prompt + completion,
        "completion_tokens": completion,
        "prompt_tokens_details": None,
    }


def _whole(text: str, usage: dict[str, Any], body: dict[str, Any], *, chat: bool, corrupted: bool) -> dict[str, Any]:
    choices = []
    for index in range((body.get("n") or 1) * len(prompts_of(body))):
        logprobs: Any = None
        if body.get("logprobs") and not chat:
            logprobs = {"tokens": ["a"], "token_logprobs": [-3.5 if corrupted else -0.25]}
        shown = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        choices.append({"index": index, **shown, "logprobs": logprobs, "finish_reason": "stop"})
    return {
        "id": "chatcmpl-1" if chat else "cmpl-1",
        "object": "chat.completion" if chat else "text_completion",
        "created": 1,
        "model": body.get("model"),
        "choices": choices,
        "usage": usage,
    }


def _event(text: str, body: dict[str, Any], *, chat: bool) -> dict[str, Any]:
    shown = {"delta": {"content": text}} if chat else {"text": text}
    return {
        "id": "chatcmpl-1" if chat else "cmpl-1",
        "object": "chat.completion.chunk" if chat else "text_completion",
        "created": 1,
        "model": body.get("model"),
        "choices": [{"index": 0, **shown, "logprobs": None, "finish_reason": None}],
    }


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, for requests with a content-length or without a body."""

    def __init__(self, upstream: FakeUpstream) -> None:
        self._upstream = upstream
        self._buffer = b""
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._upstream.connections += 1
        self._upstream.open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._upstream.open -= 1
        if self._task is not None and not self._task.done():
            self._upstream.aborted += 1
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        request = Received(lines[0].split(" ")[1], headers, rest[:length])
        upstream = self._upstream
        if upstream.record:
            upstream.received.append(request)
        reply = upstream.reply(request)
        generating = request.path in GENERATING
        waits = upstream.gate is not None or upstream.before is not None
        if generating and (waits or (reply.chunks is not None and upstream.between is not None)):
            self._task = asyncio.create_task(self._slowly(reply, upstream))
        else:
            self._write_all(reply, record=generating)

    def _head(self, reply: Reply) -> bytes:
        framing = f"content-length: {len(reply.body)}" if reply.chunks is None else "transfer-encoding: chunked"
        lines = [
            f"HTTP/1.1 {reply.status} X",
            "server: fake",
            f"content-type: {reply.content_type}",
            framing,
            *reply.headers,
        ]
        return "\r\n".join([*lines, "", ""]).encode()

    def _write_all(self, reply: Reply, *, record: bool) -> None:
        assert self._transport is not None
        if reply.chunks is None:
            self._transport.write(self._head(reply) + reply.body)
        else:
            self._transport.write(self._head(reply))
            for chunk in reply.chunks:
                self._transport.write(_framed(chunk))
            self._transport.write(b"0\r\n\r\n")
        if record and self._upstream.record:
            self._upstream.sent += reply.body if reply.chunks is None else b"".join(reply.chunks)

    async def _slowly(self, reply: Reply, upstream: FakeUpstream) -> None:
        assert self._transport is not None
        if upstream.gate is not None:
            await upstream.gate.wait()
        if upstream.before is not None:
            await upstream.before()
        if reply.chunks is None:
            self._write_all(reply, record=True)
            return
        self._transport.write(self._head(reply))
        for index, chunk in enumerate(reply.chunks):
            try:
                if upstream.between is not None:
                    await upstream.between(index)
            except ConnectionResetError:
                self._transport.abort()
                return
            self._transport.write(_framed(chunk))
            if upstream.record:
                upstream.sent += chunk
        self._transport.write(b"0\r\n\r\n")


def _framed(chunk: bytes) -> bytes:
    return f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n"


async def _serve(port: int, model: str) -> None:
    upstream = await FakeUpstream(models=(model,), record=False).start(port)
    print(json.dumps({"url": upstream.url}), flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a vLLM that answers at once, without a model.")
    parser.add_argument("--port", type=int, default=0, help="port on loopback; 0 takes a free one, printed at start")
    parser.add_argument("--model", default=MODEL, help="name of the model it says it serves")
    options = parser.parse_args()
    import uvloop

    uvloop.run(_serve(options.port, options.model))


if __name__ == "__main__":
    main()
