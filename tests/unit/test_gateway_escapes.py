"""JSON says a phrase in many ways: whoever parses an answer finds it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.phrases.phrase import PhraseClass
from server.gateway.watch import unescaped
from tests.fakes.clients import asked, called, formatted, told, tooled
from tests.fakes.gateway import Wired, wired
from tests.fakes.scopes import scope
from tests.fakes.script import Script
from tests.fakes.wire import CHAT, GENERATING, MESSAGES, RESPONSES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from server.settings import Settings
    from tests.fakes.upstream import FakeUpstream

pytestmark = pytest.mark.thorough

NAMES = scope(("Bjørn Ødegård-Rowling", PhraseClass.FACT), ("Rowling", PhraseClass.FACT))
SAID = r"""{"a": 1, "by": "\u0052\u006fwling"}""", r"""{"by": "Bj\u00f8rn\n\u00d8deg\u00e5rd"}"""
OTHER = '{"a": 1, "by": "me"}'


@pytest.fixture
async def gate(upstream: FakeUpstream, settings: Settings) -> AsyncIterator[Wired]:
    async with wired(upstream.url, settings) as running:
        for each in running.pool.upstreams:
            assert each.proof is not None
            each.proof = type(each.proof)(True, "", restricts=True)
        await running.watchlist.apply(NAMES)
        yield running


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("path", GENERATING)
async def test_structured_output(gate: Wired, upstream: FakeUpstream, path: str, said: str, stream: bool) -> None:
    upstream.handler = Script(said, [OTHER])
    body = asked(path, stream=stream, **formatted(path, {"type": "object"}))
    raw = await (await gate.post(path, body)).read()
    assert json.loads(told(path, raw)) == json.loads(OTHER)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES])
async def test_tool_calls(gate: Wired, upstream: FakeUpstream, path: str, said: str, stream: bool) -> None:
    upstream.handler = Script("", [OTHER], arguments=said)
    raw = await (await gate.post(path, asked(path, stream=stream, **tooled(path)))).read()
    assert json.loads(called(path, raw)) == json.loads(OTHER)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", GENERATING)
async def test_other_backslashes_stay(gate: Wired, upstream: FakeUpstream, path: str, stream: bool) -> None:
    said = r"In LaTeX \rho is a letter, C:\row is a path, \u00zz is nothing. \ "
    upstream.handler = Script(said)
    raw = await (await gate.post(path, asked(path, stream=stream))).read()
    assert told(path, raw) == said


@given(st.text(), st.booleans())
def test_escapes_are_resolved_as_json_does(text: str, ascii_only: bool) -> None:
    assert unescaped(json.dumps(text, ensure_ascii=ascii_only)[1:-1]) == text


@given(st.text())
def test_any_text_can_be_resolved(text: str) -> None:
    assert "\\u0052" not in unescaped(f"{text} \\u0052")
