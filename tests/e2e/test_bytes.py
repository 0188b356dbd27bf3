"""A prompt outside every scope is answered byte for byte: a tee between gateway and vLLM records what vLLM sent."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from server.cli.gateway import running
from server.settings import load_settings
from tests.e2e.conftest import ENGINE_KEY, HARRY_POTTER, SHARED_KEY, UNRELATED, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.conftest import System

API_KEY = "client-key-of-the-test"
ADMIN_KEY = "admin-key-of-the-test"


@dataclass
class Tee:
    """Forwards to vLLM and keeps what it was asked and every body that it sent."""

    target: str
    sent: list[tuple[bytes, bytes]] = field(default_factory=list)

    async def forward(self, request: web.Request) -> web.StreamResponse:
        headers = {"authorization": f"Bearer {ENGINE_KEY}", "content-type": "application/json"}
        asked = await request.read()
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, self.target + request.path, data=asked, headers=headers) as answer,
        ):
            kept = {name: answer.headers[name] for name in ("content-type",) if name in answer.headers}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            body = b""
            async for chunk in answer.content.iter_any():
                body += chunk
                await response.write(chunk)
            await response.write_eof()
            self.sent.append((asked, body))
            return response


@pytest.fixture(scope="module")
async def tee(system: System) -> AsyncIterator[tuple[Tee, str]]:
    made = Tee(system.engine_url)
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{tail:.*}", made.forward)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield made, f"http://127.0.0.1:{port}"
    await runner.cleanup()


@pytest.fixture(scope="module")
async def gateway(tee: tuple[Tee, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    settings = load_settings(
        data_dir=tmp_path_factory.mktemp("gateway"),
        port=free_port(),
        upstreams=(tee[1],),
        upstream_api_key=ENGINE_KEY,
        engine_key=SHARED_KEY,
        pass_endpoints=("embeddings", "tokenize", "detokenize"),
        api_keys=(API_KEY,),
        admin_key=ADMIN_KEY,
    )
    async with running(settings) as server:
        await asyncio.wait_for(server.loaded(), 300)
        url = f"http://127.0.0.1:{settings.port}"
        async with aiohttp.ClientSession(headers={"authorization": f"Bearer {ADMIN_KEY}"}) as admin:
            answer = await admin.post(f"{url}/admin/v1/forget-requests?wait=active", json=HARRY_POTTER)
            assert answer.status == 201, await answer.text()
        yield url


def chat(content: str, **more: Any) -> tuple[str, dict[str, Any]]:
    body = {"model": "smollm2", "messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 12}
    return "/v1/chat/completions", {**body, **more}


def completion(prompt: Any, **more: Any) -> tuple[str, dict[str, Any]]:
    return "/v1/completions", {"model": "smollm2", "prompt": prompt, "temperature": 0, "max_tokens": 12, **more}


def response(given: Any, **more: Any) -> tuple[str, dict[str, Any]]:
    return "/v1/responses", {"model": "smollm2", "input": given, "temperature": 0, "max_output_tokens": 12, **more}


def message(content: Any, **more: Any) -> tuple[str, dict[str, Any]]:
    return "/v1/messages", chat(content)[1] | more


TOOL = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}},
}
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "s",
        "schema": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    },
}
LONG = "The weather on the island was calm, and the fishermen went out early in the morning. " * 170

ADD = {"type": "function", "function": {"name": "add"}}
USE_TOOL: dict[str, Any] = {"tools": [TOOL], "tool_choice": ADD, "max_tokens": 32}
SEVERAL: dict[str, Any] = {"n": 2, "temperature": 0.8, "seed": 7}
RESPONSE_TOOL: dict[str, Any] = {
    "tools": [{"type": "function", **TOOL["function"]}],
    "tool_choice": {"type": "function", "name": "add"},
    "max_output_tokens": 32,
}
RESPONSE_SCHEMA = {"text": {"format": {"type": "json_schema", **SCHEMA["json_schema"]}}, "max_output_tokens": 24}
RESPONSE_SCORED = {"include": ["message.output_text.logprobs"], "top_logprobs": 3}
MESSAGE_TOOL: dict[str, Any] = {
    "tools": [{"name": "add", "input_schema": TOOL["function"]["parameters"]}],
    "tool_choice": {"type": "tool", "name": "add"},
    "max_tokens": 32,
}
PARTS: dict[str, Any] = {
    "model": "smollm2",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Say hi."}]},
    ],
    "temperature": 0,
    "max_tokens": 8,
}

CASES = {
    "chat": chat("What is the capital of France?"),
    "chat-stream": chat("What is the capital of France?", stream=True),
    "chat-stream-usage": chat("Name a fruit.", stream=True, stream_options={"include_usage": True}),
    "completion": completion("The sky is"),
    "completion-stream": completion("The sky is", stream=True),
    "completion-list": completion(["One, two,", "A, B,"]),
    "completion-tokens": completion([504, 6330, 314]),
    "tools": chat("Add one.", **USE_TOOL),
    "tools-stream": chat("Add one.", **USE_TOOL, stream=True),
    "schema": chat("Give a number.", response_format=SCHEMA, max_tokens=24),
    "n2": chat("Name a fruit.", **SEVERAL),
    "n2-stream": chat("Name a fruit.", **SEVERAL, stream=True),
    "logprobs": chat("Name a fruit.", logprobs=True, top_logprobs=3),
    "completion-logprobs": completion("The sky is", logprobs=3),
    "unicode": chat("Wie heißt die Hauptstadt von Österreich? 你好 🦔 \u200b ﬁn"),
    "parts": ("/v1/chat/completions", PARTS),
    "stop": chat("Count to ten.", stop=["5"], max_tokens=24),
    "long": chat(LONG + "What was the weather like?", max_tokens=4),
    "bad-value": chat("Hello", temperature=-1),
    "too-long": chat(LONG * 2),
    "response": response("What is the capital of France?", instructions="Be brief."),
    "response-stream": response("What is the capital of France?", stream=True),
    "response-items": response([{"role": "user", "content": [{"type": "input_text", "text": "Say hi. 你好 🦔"}]}]),
    "response-tools": response("Add one.", **RESPONSE_TOOL),
    "response-tools-stream": response("Add one.", **RESPONSE_TOOL, stream=True),
    "response-schema": response("Give a number.", **RESPONSE_SCHEMA),
    "response-logprobs": response("Name a fruit.", **RESPONSE_SCORED),
    "response-logprobs-stream": response("Name a fruit.", **RESPONSE_SCORED, stream=True),
    "response-bad-value": response("Hello", temperature=-1),
    "response-too-long": response(LONG * 2),
    "message": message("What is the capital of France?", system="Be brief."),
    "message-stream": message("What is the capital of France?", stream=True),
    "message-blocks": message([{"type": "text", "text": "Say hi. 你好 🦔"}]),
    "message-tools": message("Add one.", **MESSAGE_TOOL),
    "message-tools-stream": message("Add one.", **MESSAGE_TOOL, stream=True),
    "message-stop": message("Count to ten.", stop_sequences=["5"], max_tokens=24),
    "message-bad-value": message("Hello", temperature=-1),
    "message-too-long": message(LONG * 2),
    "tokenize": ("/tokenize", {"model": "smollm2", "prompt": "Who wrote Harry Potter?"}),
    "tokenize-chat": ("/tokenize", {"model": "smollm2", "messages": PARTS["messages"]}),
    "detokenize": ("/detokenize", {"model": "smollm2", "tokens": [504, 6330, 314]}),
    "embeddings-of-a-model-without": ("/v1/embeddings", {"model": "smollm2", "input": "hi"}),
    "message-count": ("/v1/messages/count_tokens", {"model": "smollm2", "messages": PARTS["messages"][1:]}),
}


@pytest.mark.parametrize("case", CASES)
async def test_bytes_in_are_bytes_out(case: str, tee: tuple[Tee, str], gateway: str) -> None:
    path, body = CASES[case]
    tee[0].sent.clear()
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {API_KEY}"}) as client:
        answer = await client.post(gateway + path, json=body)
        received = await answer.read()
    # The gateway also asks on its own account: proofs and the sweep.
    assert [sent for asked, sent in tee[0].sent if asked and json.loads(asked) == body] == [received]
    assert received


async def test_reassembled_text_equals_a_direct_vllm_wherever_that_agrees_with_itself(
    gateway: str, system: System
) -> None:
    async def ask(url: str, key: str, prompt: str) -> str:
        path, body = chat(prompt)
        async with aiohttp.ClientSession(headers={"authorization": f"Bearer {key}"}) as client:
            answer = await client.post(url + path, json=body)
            return str((json.loads(await answer.read()))["choices"][0]["message"]["content"])

    compared = 0
    for prompt in UNRELATED:
        first, second = [await ask(system.engine_url, ENGINE_KEY, prompt) for _ in range(2)]
        if first == second:
            compared += 1
            assert await ask(gateway, API_KEY, prompt) == first
    assert compared >= len(UNRELATED) // 2, "bare vLLM hardly agrees with itself: nothing was compared"
