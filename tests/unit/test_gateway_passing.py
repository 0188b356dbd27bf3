"""Prompts outside every scope: what goes in and what comes out."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest

from guards.plan import Band
from guards.scope import Action
from tests.fakes.clients import asked
from tests.fakes.gateway import SALT_KEY, Wired, settled, wired
from tests.fakes.upstream import MODEL, FakeUpstream, Received, Reply
from tests.fakes.wire import CHAT, COMPLETIONS, GENERATING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from server.settings import Settings

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
    "system": (
        "/v1/chat/completions",
        {
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            ]
        },
    ),
    "tools": (
        "/v1/chat/completions",
        {
            "messages": [{"role": "user", "content": "hi"}],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
            "tool_choice": "required",
        },
    ),
    "schema": (
        "/v1/chat/completions",
        {
            "messages": [{"role": "user", "content": "hi"}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
        },
    ),
    "two choices": (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "hi"}], "n": 2, "logprobs": True},
    ),
    "unicode": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "𝔘𝔫𝔦 — naïve ✓\u0000\u200b"}]}),
    "long": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "word " * 700}]}),
    "text": ("/v1/completions", {"prompt": "hi"}),
    "texts": ("/v1/completions", {"prompt": ["hi", "there"], "logprobs": 2}),
    "tokens": ("/v1/completions", {"prompt": [104, 105]}),
    "token lists": ("/v1/completions", {"prompt": [[104, 105], [106]]}),
    "response": ("/v1/responses", {"input": "hi", "instructions": "be brief"}),
    "response to items": (
        "/v1/responses",
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": "hi — naïve ✓"}]}], "store": True},
    ),
    "response with tools": (
        "/v1/responses",
        {"input": "hi", "tools": [{"type": "function", "name": "f", "parameters": {}}], "tool_choice": "auto"},
    ),
    "message": ("/v1/messages", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}),
    "message of blocks": (
        "/v1/messages",
        {
            "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
            "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
            "max_tokens": 9,
            "tools": [{"name": "f", "input_schema": {}}],
        },
    ),
}


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(adapters=("adapter",)) as fake:
        yield fake


@pytest.fixture
async def gate(upstream: FakeUpstream, settings: Settings) -> AsyncIterator[Wired]:
    async with wired(upstream.url, settings) as running:
        upstream.received.clear()
        upstream.sent.clear()
        yield running


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("case", CASES)
async def test_bytes_in_are_bytes_out(gate: Wired, upstream: FakeUpstream, case: str, stream: bool) -> None:
    path, fields = CASES[case]
    body = {"model": MODEL} | fields
    if stream:
        counted = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}
        body |= {"stream": True} | (counted if path in (CHAT, COMPLETIONS) else {})
    response = await gate.post(path, body)
    assert response.status == 200
    assert await response.read() == bytes(upstream.sent)
    assert upstream.generated()[-1].body == body
    assert gate.decisions[-1].outcome == "passed"


async def test_each_chunk_goes_out_as_it_comes(gate: Wired, upstream: FakeUpstream) -> None:
    turn = [asyncio.Event() for _ in range(4)]
    chunks = [b"data: one\n\n", b"data: tw", b"o\n\ndata: three\n\n", b"data: [DONE]\n\n"]
    upstream.handler = lambda request: (
        Reply(chunks=chunks, content_type="text/event-stream") if request.path == "/v1/completions" else None
    )

    async def between(index: int) -> None:
        await turn[index].wait()

    upstream.between = between
    response_task = asyncio.create_task(gate.complete(stream=True))
    turn[0].set()
    response = await response_task
    for index, chunk in enumerate(chunks):
        turn[index].set()
        assert await response.content.readany() == chunk
    assert await response.content.readany() == b""


async def test_a_stream_of_an_unknown_form_passes_where_nothing_is_watched_for(
    gate: Wired, upstream: FakeUpstream
) -> None:
    chunks = [
        b": hello\n\n",
        b"data: one\n\n",
        b'data: {"choices":[null]}\n\n',
        b"event: tw",
        b"o\ndata: 2\n\n",
        b"data: [DONE]\n\n",
    ]
    upstream.handler = lambda request: (
        Reply(chunks=chunks, content_type="text/event-stream") if request.path.startswith("/v1/chat") else None
    )
    assert await (await gate.chat(stream=True)).read() == b"".join(chunks)


HELLO = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}


async def test_only_the_content_type_and_our_request_id_go_out(gate: Wired) -> None:
    response = await gate.post("/v1/chat/completions", HELLO, headers={"x-request-id": "mine"})
    names = {name.lower() for name in response.headers}
    assert names == {"date", "server", "content-type", "content-length", "x-request-id"}
    assert response.headers["content-type"] == "application/json"
    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["x-request-id"])
    assert gate.decisions[-1].id == response.headers["x-request-id"]
    again = await gate.chat()
    assert again.headers["x-request-id"] != response.headers["x-request-id"]


async def test_no_header_of_the_client_reaches_the_upstream(gate: Wired, upstream: FakeUpstream) -> None:
    headers = {"x-request-id": "mine", "x-data-parallel-rank": "3", "cookie": "a=b"}
    await (await gate.post("/v1/chat/completions", HELLO, headers=headers)).read()
    names = set(upstream.generated()[-1].headers)
    assert names == {"host", "accept-encoding", "content-type", "content-length"}
    assert upstream.generated()[-1].headers["accept-encoding"] == "identity"


async def test_an_error_of_the_upstream_passes(gate: Wired, upstream: FakeUpstream) -> None:
    body = b'{"error": {"message": "no",  "code": 418}}'
    busy = Reply(418, body, headers=("retry-after: 7", "x-worker: 3"))
    upstream.handler = lambda request: busy if request.path.startswith("/v1/chat") else None
    response = await gate.chat()
    assert response.status == 418
    assert response.headers["retry-after"] == "7"
    assert "x-worker" not in response.headers
    assert await response.read() == body
    assert gate.decisions[-1].outcome == "upstream_error"


@pytest.mark.parametrize("path", GENERATING)
async def test_a_cache_salt_is_replaced_and_kept_apart(gate: Wired, upstream: FakeUpstream, path: str) -> None:
    sent = []
    for salt in ("mine", "mine", "yours", "a/b@c\\d" * 100):
        assert (await gate.post(path, asked(path, cache_salt=salt))).status == 200
        sent.append(upstream.generated()[-1].body["cache_salt"])
    assert sent[0] == sent[1] != sent[2] != sent[3]
    assert all(re.fullmatch(r"[0-9a-f]{64}", salt) for salt in sent)
    assert (await gate.post(path, asked(path, cache_salt=None))).status == 200
    assert "cache_salt" not in upstream.generated()[-1].body
    assert (await gate.post(path, asked(path, cache_salt=["x"]))).status == 400
    assert SALT_KEY.hex() not in sent


@pytest.mark.parametrize("path", GENERATING)
async def test_a_model_that_is_not_named_is_the_served_one(gate: Wired, upstream: FakeUpstream, path: str) -> None:
    response = await gate.post(path, asked(path, model=None))
    assert response.status == 200
    assert upstream.generated()[-1].body["model"] == MODEL


@pytest.mark.parametrize("name", ["adapter", "unknown"])
@pytest.mark.parametrize("path", [*GENERATING, "/v1/messages/count_tokens"])
async def test_an_adapter_is_as_unknown_as_any_other_model(
    gate: Wired, upstream: FakeUpstream, path: str, name: str
) -> None:
    limit = None if path.endswith("count_tokens") else 5
    response = await gate.post(path, asked(path, model=name, limit=limit))
    assert response.status == 404
    error = (await response.json())["error"]
    assert (error["param"], error["code"]) == ("model", "model_not_found")
    assert error["message"] == f"The model `{name}` does not exist."
    assert not upstream.generated()


async def test_models_are_listed_without_adapters(gate: Wired) -> None:
    listed = await (await gate.session.get(gate.url + "/v1/models")).json()
    assert [card["id"] for card in listed["data"]] == [MODEL]
    one = await gate.session.get(f"{gate.url}/v1/models/{MODEL}")
    assert (await one.json())["id"] == MODEL
    assert one.headers["x-request-id"]
    assert (await gate.session.get(gate.url + "/v1/models/adapter")).status == 404
    assert (await gate.session.get(gate.url + "/v1/models/org/name")).status == 404
    assert (await gate.session.get(gate.url + "/v1/models", headers={"authorization": "Bearer x"})).status == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", path) for path in ("/", "/v1/chat/completions", "/v1/completions", "/metrics", "/docs", "/version")),
        *(("POST", path) for path in ("/v1/models", "/v1/embeddings", "/v1/rerank", "/tokenize", "/detokenize")),
        *(("GET", path) for path in ("/v1/responses", "/v1/messages", "/v1/responses/resp_1")),
        *(("POST", path) for path in ("/v1/responses/resp_1/cancel", "/v1/messages/batches")),
        *(("POST", path) for path in ("/v1/load_lora_adapter", "/invocations", "/v1/chat/completions/batch", "/v1")),
        ("POST", "/v1/chat/completions/"),
    ],
)
async def test_every_other_route_is_not_found(gate: Wired, upstream: FakeUpstream, method: str, path: str) -> None:
    response = await gate.session.request(method, gate.url + path, json={}, allow_redirects=False)
    assert response.status == 404
    assert (await response.json())["error"]["code"] == "unknown_route"
    assert response.headers["x-request-id"]
    assert not upstream.received


async def test_tokens_are_counted_by_the_upstream_whatever_is_asked(gate: Wired, upstream: FakeUpstream) -> None:
    for text in ("hi", "by Rowling"):
        body = asked("/v1/messages", text, limit=None)
        response = await gate.post("/v1/messages/count_tokens", body)
        direct = await gate.session.post(upstream.url + "/v1/messages/count_tokens", json=body)
        assert (response.status, await response.read()) == (200, await direct.read())
    assert [one.body for one in upstream.received][0::2] == [one.body for one in upstream.received][1::2]
    assert not gate.detector.seen
    assert not gate.decisions
    wrong = await gate.post("/v1/messages/count_tokens", asked("/v1/messages", limit=None, vllm_xargs={}))
    assert wrong.status == 400
    assert (await wrong.json())["type"] == "error"


PASSED: dict[str, dict[str, Any]] = {
    "/v1/embeddings": {"input": "by Rowling"},
    "/v1/rerank": {"query": "who?", "documents": ["by Rowling"]},
    "/tokenize": {"prompt": "by Rowling"},
    "/detokenize": {"tokens": [104, 105]},
}


@pytest.mark.parametrize("path", PASSED)
async def test_what_a_setting_names_is_passed_as_it_is(upstream: FakeUpstream, settings: Settings, path: str) -> None:
    names = tuple(one.rpartition("/")[2] for one in PASSED)
    async with wired(upstream.url, settings.model_copy(update={"pass_endpoints": names})) as gate:
        upstream.received.clear()
        upstream.handler = lambda request: Reply(body=b'{"data":  1.0}') if request.path == path else None
        response = await gate.post(path, {"model": MODEL} | PASSED[path])
        assert (response.status, await response.read()) == (200, b'{"data":  1.0}')
        assert [one.body for one in upstream.received] == [{"model": MODEL} | PASSED[path]]
        assert not gate.detector.seen
        assert (await gate.post(path, {"model": MODEL, "priority": 1} | PASSED[path])).status == 400
        upstream.handler = lambda request: Reply(404, b'{"detail":"Not Found"}') if request.path == path else None
        assert (await gate.post(path, {"model": MODEL} | PASSED[path])).status == 404


@pytest.mark.parametrize("action", Action)
async def test_what_is_supplied_does_not_flag(gate: Wired, upstream: FakeUpstream, action: Action) -> None:
    gate.detector.action = action
    messages = [{"role": "tool", "content": "by Rowling"}, {"role": "user", "content": "hi"}]
    await gate.chat(messages=messages)
    decision = gate.decisions[-1]
    assert (decision.outcome, decision.interventions, decision.shadow) == ("passed", (), ())
    assert [one.band for one in decision.detections] == [Band.LOW]
    assert upstream.received[-1].body["messages"] == messages


async def test_connections_are_kept(gate: Wired, upstream: FakeUpstream) -> None:
    before = upstream.connections
    for _ in range(20):
        await (await gate.chat()).read()
        await (await gate.chat(stream=True)).read()
    assert upstream.connections - before <= 1


async def test_a_connection_that_the_upstream_closed_is_replaced(gate: Wired, upstream: FakeUpstream) -> None:
    closed = []

    def closing(request: Received) -> Reply | None:
        if request.path.startswith("/v1/chat") and not closed:
            closed.append(request)
            raise ConnectionResetError
        return None

    await (await gate.chat()).read()
    upstream.handler = closing
    response = await gate.chat()
    assert response.status == 200
    assert closed


async def test_nothing_is_left_over(gate: Wired) -> None:
    await (await gate.chat()).read()
    await settled()
    before = len(asyncio.all_tasks())
    for _ in range(20):
        await (await gate.chat()).read()
        await (await gate.chat("by Rowling", max_tokens=5)).read()
    await settled()
    assert len(asyncio.all_tasks()) <= before
    assert gate.gateway.in_flight == 0
    assert [upstream.in_flight for upstream in gate.pool.upstreams] == [0]
