"""What each generating endpoint has of its own where a prompt is intervened on. For what all share: the table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from guards.act.decline import Form, neutral_text
from guards.engine.wire import from_xargs
from guards.scope import Action
from server.api.messages_prompt import as_chat
from server.upstream.tokenizer import Renderer
from tests.fakes.clients import answers, asked, begun, usage
from tests.fakes.gateway import NEEDLE, Wired, wired
from tests.fakes.tokenizer import CharacterTokenizer
from tests.fakes.upstream import MAX_MODEL_LEN, MODEL, FakeUpstream, Received, Reply, prompt_text
from tests.fakes.wire import COMPLETIONS, GENERATING, MESSAGES, RESPONSES, as_asked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from server.settings import Settings

ASKED = f"who is {NEEDLE}?"


@pytest.fixture
async def gate(upstream: FakeUpstream, settings: Settings) -> AsyncIterator[Wired]:
    async with wired(upstream.url, settings, renderer=Renderer(CharacterTokenizer())) as running:
        upstream.received.clear()
        yield running


def last(upstream: FakeUpstream) -> dict[str, Any]:
    return upstream.generated()[-1].body


def counted(path: str, body: dict[str, Any]) -> int:
    return len(prompt_text(as_asked(path, body)))


def corrupted(path: str, upstream: FakeUpstream) -> list[str]:
    """The texts that the engine was asked to corrupt."""
    args = from_xargs(last(upstream)["vllm_xargs"])
    assert args is not None
    text = prompt_text(as_asked(path, last(upstream)))
    assert args.prompt_tokens == len(text)
    return [text[start:end] for start, end in zip(args.spans[::2], args.spans[1::2], strict=True)]


@pytest.mark.parametrize("action", [Action.DECLINE, Action.CORRUPT])
@pytest.mark.parametrize("path", GENERATING)
async def test_a_begun_answer_is_begun_otherwise(
    gate: Wired, upstream: FakeUpstream, path: str, action: Action
) -> None:
    gate.detector.action = action
    await gate.post(path, begun(path, ASKED, f"It was {NEEDLE}"))
    sent = json.dumps(last(upstream), ensure_ascii=False)
    if action is Action.DECLINE:
        assert NEEDLE not in sent
        if path != COMPLETIONS:
            assert neutral_text(f"It was {NEEDLE}", Form.PREFILL) in sent
    elif path != COMPLETIONS:
        assert corrupted(path, upstream) == [NEEDLE, f"It was {NEEDLE}"]


ITEMS: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "input_text", "text": "a document"}, {"type": "input_text", "text": ASKED}]},
    {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"},
    {"type": "function_call_output", "call_id": "c", "output": f"by {NEEDLE}"},
    {"role": "user", "content": "so?"},
]
BLOCKS: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "text", "text": "a document"}, {"type": "text", "text": ASKED}]},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]},
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "c", "content": f"by {NEEDLE}"},
            {"type": "text", "text": "so?"},
        ],
    },
]


@pytest.mark.parametrize(("path", "field", "given"), [(RESPONSES, "input", ITEMS), (MESSAGES, "messages", BLOCKS)])
@pytest.mark.parametrize("action", [Action.DECLINE, Action.CORRUPT])
async def test_parts_and_results_of_tools_keep_their_places(
    gate: Wired, upstream: FakeUpstream, path: str, field: str, given: list[dict[str, Any]], action: Action
) -> None:
    gate.detector.action = action
    gate.detector.found = {"fr_1": {1: NEEDLE}}
    await gate.post(path, asked(path) | {field: given})
    sent = last(upstream)[field]
    if action is Action.CORRUPT:
        assert sent == given
        assert corrupted(path, upstream) == [NEEDLE, NEEDLE]
    else:
        assert sent[1:] == given[1:]
        first, second = sent[0]["content"]
        assert first == given[0]["content"][0]
        assert second == given[0]["content"][1] | {"text": neutral_text(ASKED)}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_response_repeats_the_clients_own_request(gate: Wired, upstream: FakeUpstream, stream: bool) -> None:
    """It says what it was asked with: the instructions, if they ask, and how much room there was."""
    body = {"model": MODEL, "instructions": ASKED, "input": " ", "stream": stream}
    raw = await (await gate.post(RESPONSES, body)).read()
    sent = last(upstream)
    assert sent["instructions"] == neutral_text(ASKED)
    assert sent["max_output_tokens"] < MAX_MODEL_LEN - counted(RESPONSES, body)
    shown = [one.get("response") or one for one in answers(RESPONSES, raw) if "response" in one or "output" in one]
    assert len(shown) == (3 if stream else 1)
    for response in shown:
        assert response["instructions"] == ASKED
        assert response["max_output_tokens"] == MAX_MODEL_LEN - counted(RESPONSES, body)


@pytest.mark.parametrize("path", [RESPONSES, MESSAGES])
@pytest.mark.parametrize("action", [Action.DECLINE, Action.CORRUPT])
@pytest.mark.parametrize("fault", ["temperature", "limit", "length"])
async def test_a_flagged_request_errs_as_without_us(
    gate: Wired, upstream: FakeUpstream, path: str, action: Action, fault: str
) -> None:
    gate.detector.action = action
    faults = {
        "temperature": asked(path, ASKED, temperature=-1),
        "limit": asked(path, ASKED, limit=MAX_MODEL_LEN + 1),
        "length": asked(path, ASKED + "x" * MAX_MODEL_LEN),
    }
    body = faults[fault]
    direct = await gate.session.post(upstream.url + path, json=body)
    response = await gate.post(path, body)
    assert (response.status, await response.read()) == (direct.status, await direct.read())
    assert response.status == 400


@pytest.mark.parametrize("path", GENERATING)
@pytest.mark.parametrize("named", [False, True])
async def test_an_error_inside_a_stream_says_nothing(
    gate: Wired, upstream: FakeUpstream, path: str, named: bool
) -> None:
    odd = b'{"type":"error","error":{"type":"internal_error","message":"unremember_spans are odd"}}'
    event = (b"event: error\n" if path in (RESPONSES, MESSAGES) else b"") + b"data: " + odd + b"\n\n"
    upstream.handler = lambda request: (
        Reply(chunks=[event], content_type="text/event-stream")
        if request.path == path and ASKED.encode() not in request.raw
        else None
    )
    raw = await (await gate.post(path, asked(path, ASKED, stream=True))).read()
    assert b"unremember" not in raw
    assert b"The generation failed." in raw
    assert raw.startswith(b"event: error\n") is (path in (RESPONSES, MESSAGES))


@pytest.mark.parametrize("path", GENERATING)
async def test_errors_are_in_the_apis_own_envelope(gate: Wired, upstream: FakeUpstream, path: str) -> None:
    wrong = await gate.post(path, asked(path, priority=1))
    assert wrong.status == 400
    body = await wrong.json()
    assert body["error"]["param"] == "priority"
    assert body.get("type") == ("error" if path == MESSAGES else None)
    upstream.handler = lambda request: Reply(418, b'{"x":  1}') if request.path == path else None
    passed = await gate.post(path, asked(path))
    assert (passed.status, await passed.read()) == (418, b'{"x":  1}')


INLINE = [
    {"role": "user", "content": "hi"},
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": ASKED},
]


@pytest.mark.parametrize("merged", [False, True])
async def test_instructions_between_messages_are_rendered_as_the_template_wants(
    gate: Wired, upstream: FakeUpstream, merged: bool
) -> None:
    """Only the upstream's count tells which of the ways it is."""

    def strict(request: Received) -> Reply | None:
        """A template that takes instructions at the head alone."""
        if not merged:
            return None
        if request.path == "/tokenize":
            roles = [message["role"] for message in request.body["messages"]]
            return Reply(400, b"{}") if "system" in roles[1:] else None
        if request.path.endswith("count_tokens"):
            return Reply(body=orjson.dumps({"input_tokens": len(prompt_text(as_chat(request.body, merged=True)))}))
        return None

    upstream.handler = strict
    gate.detector.action = Action.CORRUPT
    body = {"model": MODEL, "max_tokens": 9, "messages": INLINE, "system": "be kind"}
    raw = await (await gate.post(MESSAGES, body)).read()
    args = from_xargs(last(upstream)["vllm_xargs"])
    text = prompt_text(as_chat(body, merged=merged))
    assert args is not None
    assert text[args.spans[0] : args.spans[1]] == NEEDLE
    assert usage(MESSAGES, raw)[0] == len(text)


async def test_where_the_count_bears_no_rendering_out_the_whole_prompt_is_corrupted(
    gate: Wired, upstream: FakeUpstream
) -> None:
    upstream.handler = lambda request: (
        Reply(body=b'{"input_tokens": 77}') if request.path.endswith("count_tokens") else None
    )
    gate.detector.action = Action.CORRUPT
    raw = await (await gate.post(MESSAGES, asked(MESSAGES, ASKED))).read()
    args = from_xargs(last(upstream)["vllm_xargs"])
    assert args is not None
    assert (args.spans, args.prompt_tokens) == ((0, 76), 77)
    assert usage(MESSAGES, raw)[0] == 77
