"""Text that the client supplies: under ``supplied`` what it states may be repeated, and nothing more."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from guards.phrases.phrase import PhraseClass
from guards.scope import Action, Context, Items, Statement
from tests.fakes.clients import asked, called, formatted, reason, told, tooled
from tests.fakes.gateway import BACKGROUND, Wired, wired
from tests.fakes.passages import FILLER, WAYS, passages, supplied
from tests.fakes.scopes import scope
from tests.fakes.script import Script
from tests.fakes.wire import CHAT, COMPLETIONS, GENERATING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from server.settings import Settings
    from tests.fakes.upstream import FakeUpstream

pytestmark = pytest.mark.thorough
STATED = "the vault opens with swordfish"
STATEMENT = replace(
    scope(),
    forget=Items(("question", "statement"), np.stack([BACKGROUND[ord(letter) % len(BACKGROUND)] for letter in "qs"])),
    statements=(Statement(item=1, question=0),),
)
OTHER = "the mayor keeps the silver key"
PASSAGES = passages(f"Of the Ostley bank they say that {STATED.title()}.")
QUESTION = "What is said of the Ostley bank?"
WHERE = [(path, way) for path in GENERATING for way in WAYS if supplied(path, way, PASSAGES, QUESTION)]
SHAPED = [
    (path, way, shape)
    for path, way in WHERE
    for shape in ("text", "schema", "tool")
    if (path, shape) != (COMPLETIONS, "tool")
]


@pytest.fixture
async def gate(upstream: FakeUpstream, settings: Settings) -> AsyncIterator[Wired]:
    async with wired(upstream.url, settings) as running:
        for each in running.pool.upstreams:
            assert each.proof is not None
            each.proof = type(each.proof)(True, "", restricts=True)
        yield running


def facts(context: Context) -> Any:
    return scope((STATED, PhraseClass.FACT), (OTHER, PhraseClass.FACT), context=context)


async def answered(
    gate: Wired,
    upstream: FakeUpstream,
    path: str,
    fields: dict[str, Any],
    shape: str,
    says: str,
    stream: bool,
) -> str:
    """What reaches the client of an upstream that says ``says``, and otherwise something harmless."""
    if shape == "text":
        more: dict[str, Any] = {}
        upstream.handler = Script(f"They say {says}. So", [" nothing at all."] * 3)
    elif shape == "schema":
        more = formatted(path, {"type": "object"})
        upstream.handler = Script(json.dumps({"said": says}), ['{"said": "nothing at all."}'] * 3)
    else:
        more = tooled(path)
        upstream.handler = Script("", ['{"said": "nothing at all."}'] * 3, arguments=json.dumps({"said": says}))
    body = {name: value for name, value in asked(path).items() if name not in ("messages", "input", "prompt")}
    raw = await (await gate.post(path, {**body, **fields, **more, "stream": stream})).read()
    if shape == "tool":
        return str(json.loads(called(path, raw))["said"])
    assert reason(path, raw) == "stop"
    return str(json.loads(told(path, raw))["said"]) if shape == "schema" else told(path, raw)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("context", list(Context))
@pytest.mark.parametrize(("path", "way", "shape"), SHAPED)
async def test_what_a_passage_states(
    gate: Wired, upstream: FakeUpstream, path: str, way: str, context: Context, shape: str, stream: bool
) -> None:
    await gate.watchlist.apply(facts(context))
    fields = supplied(path, way, PASSAGES, QUESTION)
    assert fields
    text = await answered(gate, upstream, path, fields, shape, STATED, stream)
    assert (STATED in text) == (context is Context.SUPPLIED)
    assert ("nothing at all" in text) == (context is Context.SUPPRESS)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("context", list(Context))
@pytest.mark.parametrize(("path", "way", "shape"), SHAPED)
async def test_and_nothing_more(
    gate: Wired, upstream: FakeUpstream, path: str, way: str, context: Context, shape: str, stream: bool
) -> None:
    await gate.watchlist.apply(facts(context))
    fields = supplied(path, way, PASSAGES, QUESTION)
    assert fields
    text = await answered(gate, upstream, path, fields, shape, f"{STATED}, and {OTHER}", stream)
    assert OTHER not in text
    # What may be repeated is out before the other comes, where an answer can be gone on with.
    assert (STATED in text) == (context is Context.SUPPLIED and stream and shape == "text")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("path", "way"), WHERE)
async def test_naming_the_subject_is_not_enough(
    gate: Wired, upstream: FakeUpstream, path: str, way: str, stream: bool
) -> None:
    await gate.watchlist.apply(facts(Context.SUPPLIED))
    named = [*FILLER, "The vault of the Ostley bank is famous. Some have asked what it opens with."]
    fields = supplied(path, way, named, QUESTION)
    assert fields
    assert STATED not in await answered(gate, upstream, path, fields, "text", STATED, stream)


@pytest.mark.parametrize("context", list(Context))
async def test_a_key_may_say_otherwise(upstream: FakeUpstream, settings: Settings, context: Context) -> None:
    async with wired(upstream.url, settings, context=context) as gate:
        other = Context.SUPPRESS if context is Context.SUPPLIED else Context.SUPPLIED
        await gate.watchlist.apply(facts(other))
        fields = supplied(CHAT, "pasted", PASSAGES, QUESTION)
        assert fields
        text = await answered(gate, upstream, CHAT, fields, "text", STATED, True)
        assert (STATED in text) == (context is Context.SUPPLIED)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("context", list(Context))
@pytest.mark.parametrize("supplies", [False, True])
@pytest.mark.parametrize("path", GENERATING)
async def test_what_it_states_in_other_words(
    upstream: FakeUpstream, settings: Settings, path: str, supplies: bool, context: Context, stream: bool
) -> None:
    async with wired(upstream.url, settings, context=context) as gate:
        for each in gate.pool.upstreams:
            assert each.proof is not None
            each.proof = type(each.proof)(True, "", restricts=True)
        await gate.watchlist.apply(STATEMENT)
        await gate.meaning.apply(STATEMENT)
        gate.detector.actions = {"fr_1": Action.RESTRICT}
        gate.detector.found = {"fr_1": {0: ""}}
        texts = passages("So they say of the bank.") if supplies else ["Nobody knows."]
        fields = supplied(path, "pasted", texts, QUESTION)
        assert fields
        upstream.handler = Script("All is well. Some say it opens. Others do not.", [" Nobody knows."] * 3)
        body = {name: value for name, value in asked(path).items() if name not in ("messages", "input", "prompt")}
        raw = await (await gate.post(path, {**body, **fields, "stream": stream})).read()
    assert ("Some say" in told(path, raw)) == (supplies and context is Context.SUPPLIED)
