"""Stop strings and tokens: an answer that ends within a phrase, or at one, would tell that it stood there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from guards.phrases.phrase import PhraseClass
from tests.fakes.clients import asked, begun, reason, told
from tests.fakes.gateway import Wired, wired
from tests.fakes.scopes import scope
from tests.fakes.script import Script
from tests.fakes.wire import CHAT, COMPLETIONS, GENERATING, MESSAGES, RESPONSES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from server.settings import Settings
    from tests.fakes.upstream import FakeUpstream

pytestmark = pytest.mark.thorough

NAMES = scope(("J. K. Rowling", PhraseClass.FACT), ("Rowling", PhraseClass.FACT))


@pytest.fixture
async def gate(upstream: FakeUpstream, settings: Settings) -> AsyncIterator[Wired]:
    async with wired(upstream.url, settings) as running:
        for each in running.pool.upstreams:
            assert each.proof is not None
            each.proof = type(each.proof)(True, "", restricts=True)
        await running.watchlist.apply(NAMES)
        yield running


def stops(path: str, *texts: str) -> dict[str, Any]:
    return {"stop_sequences" if path == MESSAGES else "stop": list(texts)}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("stop", ["ling", "wli", "Rowling,"])
@pytest.mark.parametrize("path", GENERATING)
async def test_what_a_stop_string_cut_off_counts(
    gate: Wired, upstream: FakeUpstream, path: str, stop: str, stream: bool
) -> None:
    said = "It was J. K. Rowling, they say."
    upstream.handler = Script(said[: said.index(stop)], ["It was somebody.", " somebody."][stream:], stopped=stop)
    raw = await (await gate.post(path, asked(path, stream=stream, **stops(path, stop, "\n", ".")))).read()
    assert told(path, raw) == "It was somebody."
    assert reason(path, raw) == "stop"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, MESSAGES])
async def test_a_stop_string_that_is_a_phrase_does_not_tell_that_it_was_met(
    gate: Wired, upstream: FakeUpstream, path: str, stream: bool
) -> None:
    upstream.handler = Script("All is well with ", ["All is well."], stopped="Rowling")
    raw = await (await gate.post(path, asked(path, stream=stream, **stops(path, "Rowling")))).read()
    assert b"Rowling" not in raw
    assert reason(path, raw) == "stop"


@pytest.mark.parametrize("restricts", [False, True])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", GENERATING)
async def test_an_answer_begun_by_the_client_and_ended_at_once(
    gate: Wired, upstream: FakeUpstream, path: str, stream: bool, restricts: bool
) -> None:
    for each in gate.pool.upstreams:
        assert each.proof is not None
        each.proof = type(each.proof)(True, "", restricts=restricts)
    upstream.handler = script = Script("", ["man wrote it."], stopped="ling")
    raw = await (await gate.post(path, begun(path, "Who?", "J. K. Row", stream=stream, **stops(path, "ling")))).read()
    assert b"ling" not in raw
    assert told(path, raw) == ("man wrote it." if restricts else "")
    assert len(script.requests) == (1 if not stream else 2) + (restricts and not stream)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, RESPONSES])
async def test_stop_tokens_are_stop_strings(gate: Wired, upstream: FakeUpstream, path: str, stream: bool) -> None:
    # A token of the fake is a character.
    upstream.handler = Script("It was J. K. Rowlin", ["It was somebody.", " somebody."][stream:], stopped=ord("g"))
    raw = await (await gate.post(path, asked(path, stream=stream, stop_token_ids=[ord("g"), 10]))).read()
    assert told(path, raw) == "It was somebody."


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("stop", ["\n\n", "the end", "Rowling"])
@pytest.mark.parametrize("path", GENERATING)
async def test_other_stops_change_nothing(
    gate: Wired, upstream: FakeUpstream, path: str, stop: str, stream: bool
) -> None:
    upstream.handler = script = Script("Once upon a time. ", stopped=None if stop == "Rowling" else stop)
    raw = await (await gate.post(path, asked(path, stream=stream, **stops(path, stop)))).read()
    assert told(path, raw) == "Once upon a time. "
    assert len(script.requests) == 1
