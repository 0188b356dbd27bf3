"""Bodies of any shape: a 4xx or an answer, never a 5xx and never a traceback."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from server.api.body import parse
from server.api.endpoint import Endpoint, Limits
from server.errors import BadRequest
from tests.examples import examples
from tests.fakes.codecs import CODECS
from tests.fakes.gateway import NEEDLE, Wired, wired
from tests.fakes.upstream import FakeUpstream, Received, Reply
from tests.fakes.wire import GENERATING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from server.settings import Settings

ENDPOINTS = tuple(codec(Limits()) for codec in CODECS.values())
_ITEMS = (
    "message",
    "function_call",
    "function_call_output",
    "custom_tool_call",
    "custom_tool_call_output",
    "reasoning",
)
NAMES = sorted({name for endpoint in ENDPOINTS for name in [*endpoint.rules.allowed, *endpoint.rules.refused]})

BEYOND = (1e300, 2.0**64, 2**64 - 1)
"""Numbers that no integer of 64 bits holds. What is longer still is read as a float."""
SCALAR = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(-2, 2)
    | st.sampled_from(["", "a", "text", "user"])
    | st.sampled_from(BEYOND)
)
KEYS = st.sampled_from(
    [
        *("role", "content", "type", "text", "name", "function", "tool_calls", "arguments", "description", "x"),
        *("parameters", "call_id", "output", "summary", "input", "input_schema", "tool", "tool_use_id", "status"),
    ]
)
ANY = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
PARTS = st.lists(
    st.text(max_size=3)
    | st.fixed_dictionaries(
        {
            "type": st.sampled_from(
                [
                    *("text", "refusal", "thinking", "image_url", "input_text", "output_text", "reasoning_text"),
                    *("tool_use", "tool_result", "tool_reference", "tool_addition", "tool_removal"),
                ]
            )
        },
        optional={"text": SCALAR, "thinking": SCALAR, "content": SCALAR, "tool": SCALAR, "input": st.just({"x": "y"})},
    )
    | ANY,
    max_size=3,
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "system", "assistant", "tool", "x"])},
        optional={"content": PARTS | ANY | st.text(max_size=5), "tool_calls": ANY, "name": SCALAR, "tools": ANY},
    ),
    max_size=3,
)
ITEMS = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from([*_ITEMS, "item_reference"])},
        optional={
            **dict.fromkeys(("name", "arguments", "call_id", "status", "id"), SCALAR | st.text(max_size=3)),
            **dict.fromkeys(("content", "output", "summary"), PARTS | ANY | st.text(max_size=5)),
            "role": st.sampled_from(["user", "system", "assistant", "x"]),
        },
    )
    | MESSAGES.filter(bool).map(lambda messages: messages[0]),
    max_size=3,
)
GIVEN = {"messages": MESSAGES | ANY, "prompt": ANY, "tools": ANY, "input": ITEMS | ANY, "system": PARTS | ANY}
BODIES = st.fixed_dictionaries({}, optional=GIVEN).flatmap(
    lambda body: st.dictionaries(st.sampled_from(NAMES), ANY, max_size=3).map(lambda more: body | more)
)


@pytest.fixture
async def gate(settings: Settings) -> AsyncIterator[Wired]:
    """A gateway before an upstream that takes everything."""

    def anything(request: Received) -> Reply | None:
        return Reply(body=b"{}") if request.path in GENERATING else None

    async with FakeUpstream() as upstream, wired(upstream.url, settings, proves=False) as running:
        upstream.handler = anything
        yield running


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
@given(body=BODIES)
@examples(60, suppress_health_check=[HealthCheck.too_slow])
def test_a_body_is_refused_by_name_or_can_be_read(endpoint: Endpoint, body: dict[str, Any]) -> None:
    body = parse(orjson.dumps(body), max_nesting=64)
    try:
        endpoint.check(body)
    except BadRequest as refusal:
        named = refusal.param
    else:
        named = None
    if named is not None:
        assert named.split("[")[0].split(".")[0] in {*NAMES, *body}
        return
    segments = endpoint.read(body)
    assert all(isinstance(segment.text, str) for segment in segments)
    assert endpoint.prompts(body)
    for segment in segments:
        endpoint.form(body, segment.path)
        endpoint.neutral(body, segment.path, segment.text)
    for rendering in endpoint.renderings(body):
        rendering(body)
    endpoint.counting(body)
    endpoint.max_output(body)
    endpoint.begun(body, 0)
    endpoint.enumerated(body)
    endpoint.continues(body)
    endpoint.resumed(endpoint.alone(body, 0), "so")


@given(raw=st.binary(max_size=200))
def test_any_bytes_are_a_body_or_a_bad_request(raw: bytes) -> None:
    with contextlib.suppress(BadRequest):
        assert isinstance(parse(raw, max_nesting=8), dict)


@pytest.mark.parametrize("path", [endpoint.path for endpoint in ENDPOINTS])
@given(body=BODIES)
@examples(40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
async def test_no_body_brings_the_gateway_down(
    gate: Wired, caplog: pytest.LogCaptureFixture, path: str, body: dict[str, Any]
) -> None:
    response = await gate.post(path, body)
    assert response.status < 500
    if response.status != 200:
        assert (await response.json())["error"]["param"]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("number", BEYOND)
@pytest.mark.parametrize(
    ("path", "field", "more"),
    [
        ("/v1/chat/completions", "top_logprobs", {"logprobs": True, "messages": [{"role": "user", "content": NEEDLE}]}),
        ("/v1/completions", "logprobs", {"prompt": NEEDLE}),
        ("/v1/completions", "max_tokens", {"prompt": NEEDLE}),
        ("/v1/completions", "stop_token_ids", {"prompt": "hello"}),
        ("/v1/responses", "max_output_tokens", {"input": NEEDLE}),
        ("/v1/messages", "max_tokens", {"messages": [{"role": "user", "content": NEEDLE}]}),
    ],
)
async def test_an_integer_beyond_64_bits_is_refused_by_name(
    gate: Wired, path: str, field: str, more: dict[str, Any], number: float
) -> None:
    response = await gate.post(path, more | {field: [number] if field == "stop_token_ids" else number})
    assert response.status == 400
    error = (await response.json())["error"]
    assert field in error["message"]
    assert "64 bits" in error["message"]
