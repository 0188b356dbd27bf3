"""Answers that meet a phrase: what of them reaches the client."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from guards.phrases.phrase import Phrase, PhraseClass
from guards.scope import Action, Context, Extent, Items, Kind, Mode, Policy, Scope, Statement, Threshold
from tests.fakes.gateway import BACKGROUND, Wired, settled, wired
from tests.fakes.script import Script
from tests.fakes.upstream import MODEL, FakeUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from server.settings import Settings

FACT = "the vault opens with swordfish"
STORY = "Once upon a time the vault opens with swordfish and nobody knew. The end"
ENDPOINTS = ("/v1/chat/completions", "/v1/completions")


def scope(*phrases: tuple[str, PhraseClass], context: Context = Context.SUPPLIED, mode: Mode = Mode.ENFORCE) -> Scope:
    nothing = Items((), np.empty((0, 4), dtype=np.float32))
    threshold = Threshold(0.5, 0.001, 0.95, 1000)
    return Scope(
        request_id="fr_1",
        version=1,
        subject="x",
        kind=Kind.RECORD,
        extent=Extent.KNOWLEDGE,
        mode=mode,
        policy=Policy((Action.DECLINE,), (), context),
        aliases=(),
        forget=nothing,
        retain=nothing,
        high=threshold,
        low=threshold,
        encoder="e",
        phrases=tuple(
            Phrase(text, kind, telling=len([each for each in text if each.isalnum()]) * 3 // 5)
            for text, kind in phrases
        ),
    )


FACTS = scope((FACT, PhraseClass.FACT))
NAMES = scope(("Rowling", PhraseClass.NAME))


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as fake:
        yield fake


@pytest.fixture
async def gate(upstream: FakeUpstream, settings: Settings) -> AsyncIterator[Wired]:
    async with wired(upstream.url, settings) as running:
        for each in running.pool.upstreams:
            assert each.proof is not None
            each.proof = type(each.proof)(True, "", restricts=True)
        upstream.sent.clear()
        yield running


def asked(path: str, text: str = "tell me a story", **fields: Any) -> dict[str, Any]:
    prompt = {"prompt": text} if path == ENDPOINTS[1] else {"messages": [{"role": "user", "content": text}]}
    return {"model": MODEL, **prompt, "max_tokens": 200} | fields


def events(raw: bytes) -> list[dict[str, Any]]:
    assert raw.endswith(b"data: [DONE]\n\n")
    return [json.loads(one[6:]) for one in raw.split(b"\n\n")[:-2]]


def told(raw: bytes, choice: int = 0) -> str:
    """The text of a choice, streamed or whole."""
    texts = []
    for answer in events(raw) if raw.startswith(b"data: ") else [json.loads(raw)]:
        for one in answer["choices"]:
            if one["index"] == choice:
                shown = one.get("delta") or one.get("message") or one
                texts.append(shown.get("content") or shown.get("text") or "")
    return "".join(texts)


def reason(raw: bytes, choice: int = 0) -> str:
    answers = events(raw) if raw.startswith(b"data: ") else [json.loads(raw)]
    found = [one["finish_reason"] for each in answers for one in each["choices"] if one["index"] == choice]
    assert [each for each in found if each] == found[-1:]
    return str(found[-1])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ENDPOINTS)
async def test_without_a_phrase_every_byte_stays(gate: Wired, upstream: FakeUpstream, path: str, stream: bool) -> None:
    await gate.watchlist.apply(FACTS)
    upstream.handler = Script("Once upon a time the vault opened by itself. The end")
    response = await gate.post(path, asked(path, stream=stream, logprobs=2 if path == ENDPOINTS[1] else None))
    assert await response.read() == bytes(upstream.sent)


@pytest.mark.parametrize("usage", [False, True])
@pytest.mark.parametrize("path", ENDPOINTS)
async def test_a_stream_goes_on_from_before_the_phrase(
    gate: Wired, upstream: FakeUpstream, path: str, usage: bool
) -> None:
    await gate.watchlist.apply(FACTS)
    upstream.handler = script = Script(STORY, [" a door stayed shut. The end"])
    fields = {"stream_options": {"include_usage": True}} if usage else {}
    raw = await (await gate.post(path, asked(path, stream=True, **fields))).read()
    assert told(raw) == "Once upon a time a door stayed shut. The end"
    assert reason(raw) == "stop"
    chunks = events(raw)
    assert {(chunk["id"], chunk["created"]) for chunk in chunks} == {("id-1", 1)}
    first, second = script.requests
    assert FACT in second["vllm_xargs"]["unremember_phrases"]
    if path == ENDPOINTS[0]:
        assert second["messages"][-1] == {"role": "assistant", "content": "Once upon a time"}
        assert (second["continue_final_message"], second["add_generation_prompt"]) == (True, False)
    else:
        assert second["prompt"] == first["prompt"] + "Once upon a time"
    if usage:
        direct = await (await gate.session.post(f"{upstream.url}/tokenize", json=first)).json()
        counts = chunks[-1]["usage"]
        assert counts["prompt_tokens"] == direct["count"]
        assert counts["total_tokens"] == counts["prompt_tokens"] + counts["completion_tokens"]
        assert len(told(raw)) >= counts["completion_tokens"] > len("Once upon a time")
    assert gate.decisions[-1].outcome == "rolled_back"


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_a_whole_answer_is_generated_again(gate: Wired, upstream: FakeUpstream, path: str) -> None:
    await gate.watchlist.apply(FACTS)
    upstream.handler = script = Script(STORY, ["Once upon a time it rained."])
    answer = json.loads(raw := await (await gate.post(path, asked(path))).read())
    assert told(raw) == "Once upon a time it rained."
    assert (answer["id"], answer["choices"][0]["index"], reason(raw)) == ("id-1", 0, "stop")
    assert len(script.requests) == 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ENDPOINTS)
async def test_what_meets_phrases_again_and_again_ends_as_a_stop(
    gate: Wired, upstream: FakeUpstream, path: str, stream: bool
) -> None:
    await gate.watchlist.apply(FACTS)
    again = f" they said {FACT} again"
    upstream.handler = script = Script(STORY, [again] * 9)
    raw = await (await gate.post(path, asked(path, stream=stream))).read()
    assert FACT not in told(raw)
    assert told(raw).startswith("Once upon a time" if stream else " they said")
    assert reason(raw) == "stop"
    assert len(script.requests) == 4 if stream else 3


@pytest.mark.parametrize("stream", [False, True])
async def test_where_nothing_restricts_the_answer_ends(gate: Wired, upstream: FakeUpstream, stream: bool) -> None:
    await gate.watchlist.apply(FACTS)
    for each in gate.pool.upstreams:
        assert each.proof is not None
        each.proof = type(each.proof)(True, "", restricts=False)
    upstream.handler = Script(STORY)
    raw = await (await gate.chat("tell", stream=stream, max_tokens=200)).read()
    assert told(raw).rstrip() == "Once upon a time"
    assert reason(raw) == "stop"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_upstream_that_cannot_go_on_ends_the_answer(gate: Wired, upstream: FakeUpstream, stream: bool) -> None:
    await gate.watchlist.apply(FACTS)
    upstream.handler = Script(STORY, refuses_to_go_on=True)
    if stream:
        raw = await (await gate.chat("tell", stream=True, max_tokens=200)).read()
        assert told(raw).rstrip() == "Once upon a time"
        assert reason(raw) == "stop"
    else:
        assert (await gate.chat("tell", max_tokens=200)).status == 503


@pytest.mark.parametrize("stream", [False, True])
async def test_each_choice_by_itself(gate: Wired, upstream: FakeUpstream, stream: bool) -> None:
    await gate.watchlist.apply(FACTS)
    upstream.handler = Script({0: "All is well here.", 1: STORY, 2: "Nothing to see."}, [" a door stayed shut."])
    raw = await (await gate.chat("tell", n=3, stream=stream, max_tokens=200)).read()
    assert told(raw, 0) == "All is well here."
    assert told(raw, 1) == ("Once upon a time" if stream else "") + " a door stayed shut."
    assert told(raw, 2) == "Nothing to see."
    assert [reason(raw, choice) for choice in range(3)] == ["stop"] * 3


@pytest.mark.parametrize("stream", [False, True])
async def test_tool_calls_leave_only_when_complete(gate: Wired, upstream: FakeUpstream, stream: bool) -> None:
    await gate.watchlist.apply(FACTS)
    upstream.handler = Script("", ['{"note":"it rained"}'], arguments=json.dumps({"note": FACT}))
    raw = await (
        await gate.chat(
            "tell", stream=stream, max_tokens=200, tools=[{"type": "function", "function": {"name": "note"}}]
        )
    ).read()
    assert b"swordfish" not in raw
    answers = events(raw) if stream else [json.loads(raw)]
    calls = [
        call["function"]["arguments"]
        for answer in answers
        for choice in answer["choices"]
        for call in (choice.get("delta") or choice.get("message") or {}).get("tool_calls") or ()
    ]
    assert json.loads("".join(calls)) == {"note": "it rained"}


async def test_structured_output_leaves_only_when_complete(gate: Wired, upstream: FakeUpstream) -> None:
    await gate.watchlist.apply(FACTS)
    upstream.handler = Script(json.dumps({"a": 1, "note": FACT}), ['{"a":1,"note":"rain"}'])
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
    raw = await (await gate.chat("tell", stream=True, max_tokens=200, response_format=schema)).read()
    assert json.loads(told(raw)) == {"a": 1, "note": "rain"}


NAMED = "It was Joanne Rowling who wrote it."


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("question", "passes"),
    [("Who wrote Harry Potter?", True), ("Did Rowling write it?", True), ("RowlinG? Who?", True)],
)
async def test_names_are_left_alone_on_other_prompts(
    gate: Wired, upstream: FakeUpstream, stream: bool, question: str, passes: bool
) -> None:
    await gate.watchlist.apply(NAMES)
    gate.detector.found = {"fr_2": {0: ""}}
    gate.detector.action = Action.RESTRICT
    upstream.handler = Script(NAMED)
    raw = await (await gate.chat(question, stream=stream, max_tokens=200)).read()
    assert (told(raw) == NAMED) is passes


@pytest.mark.parametrize("stream", [False, True])
async def test_names_are_withheld_on_flagged_prompts_that_do_not_say_them(
    gate: Wired, upstream: FakeUpstream, stream: bool
) -> None:
    await gate.watchlist.apply(NAMES)
    gate.detector.found = {"fr_1": {0: ""}}
    gate.detector.actions = {"fr_1": Action.RESTRICT}
    upstream.handler = script = Script(NAMED, ["It was somebody.", " somebody."])
    raw = await (await gate.chat("Who wrote it?", stream=stream, max_tokens=200)).read()
    assert told(raw) == "It was somebody."
    assert script.requests[-1]["vllm_xargs"]["unremember_phrases"] == "Rowling"
    upstream.handler = Script(NAMED)
    raw = await (await gate.chat("Did Rowling write it?", stream=stream, max_tokens=200)).read()
    assert told(raw) == NAMED


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("context", list(Context))
async def test_what_the_client_supplies_may_be_said_again(
    gate: Wired, upstream: FakeUpstream, context: Context, stream: bool
) -> None:
    await gate.watchlist.apply(scope((FACT, PhraseClass.FACT), context=context))
    upstream.handler = Script(STORY, [" it rained.", "It rained."])
    raw = await (await gate.chat(f"Translate: {FACT.upper()}.", stream=stream, max_tokens=200)).read()
    assert (told(raw) == STORY) is (context is Context.SUPPLIED)


async def test_what_a_schema_lists_may_be_answered(gate: Wired, upstream: FakeUpstream) -> None:
    await gate.watchlist.apply(scope((FACT, PhraseClass.FACT), context=Context.SUPPRESS))
    upstream.handler = Script(json.dumps(FACT))
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"enum": [FACT, "no"]}}}
    raw = await (await gate.chat("Which?", max_tokens=200, response_format=schema)).read()
    assert json.loads(told(raw)) == FACT


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ENDPOINTS)
async def test_an_answer_that_the_client_has_begun_is_not_completed(
    gate: Wired, upstream: FakeUpstream, path: str, stream: bool
) -> None:
    await gate.watchlist.apply(FACTS)
    upstream.handler = Script("fish, they say.", ["cery, they say."])
    begun = "The vault opens with sword"
    body = asked(path, begun, stream=stream)
    if path == ENDPOINTS[0]:
        body["messages"] = [{"role": "user", "content": "Say."}, {"role": "assistant", "content": begun}]
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    raw = await (await gate.post(path, body)).read()
    assert "fish" not in told(raw)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ENDPOINTS)
async def test_alternatives_to_tokens_do_not_show_a_name(
    gate: Wired, upstream: FakeUpstream, path: str, stream: bool
) -> None:
    await gate.watchlist.apply(NAMES)
    gate.detector.found = {"fr_1": {0: ""}}
    gate.detector.action = Action.RESTRICT
    upstream.handler = Script("x", ["It was somebody else."])
    wanted = {"logprobs": True, "top_logprobs": 3} if path == ENDPOINTS[0] else {"logprobs": 3}
    raw = await (await gate.post(path, asked(path, "Who?", stream=stream, **wanted))).read()
    assert b"Rowling" not in raw
    answers = events(raw) if stream else [json.loads(raw)]
    shown = [
        len(each["top_logprobs"]) if path == ENDPOINTS[0] else len(each)
        for answer in answers
        for choice in answer["choices"]
        if choice.get("logprobs")
        for each in choice["logprobs"]["content" if path == ENDPOINTS[0] else "top_logprobs"]
    ]
    assert shown
    assert set(shown) == {3}


async def test_a_pause_and_shadow_change_nothing(gate: Wired, upstream: FakeUpstream) -> None:
    upstream.handler = Script(STORY)
    await gate.watchlist.apply(scope((FACT, PhraseClass.FACT), mode=Mode.SHADOW))
    assert told(await (await gate.chat("tell", max_tokens=200)).read()) == STORY
    await gate.watchlist.apply(FACTS)
    gate.paused[0] = True
    assert told(await (await gate.chat("tell", max_tokens=200)).read()) == STORY
    gate.paused[0] = False
    gate.watchlist.remove("fr_1")
    assert told(await (await gate.chat("tell", max_tokens=200)).read()) == STORY


async def test_a_client_that_leaves_in_a_continuation_ends_it(gate: Wired, upstream: FakeUpstream) -> None:
    await gate.watchlist.apply(FACTS)
    upstream.handler = Script(STORY, [" and so on" * 200])

    async def between(index: int) -> None:
        await settled()

    upstream.between = between
    async with await gate.chat("tell", stream=True, max_tokens=2000) as response:
        async for chunk in response.content.iter_any():
            if b"so" in chunk:
                break
        response.close()
    for _ in range(50):
        await settled()
        if gate.gateway.in_flight == 0:
            break
    assert gate.gateway.in_flight == 0
    assert all(each.in_flight == 0 for each in gate.pool.upstreams)


STATED = replace(
    scope(),
    forget=Items(
        ("question", "statement"),
        np.stack([BACKGROUND[ord("q") % len(BACKGROUND)], BACKGROUND[ord("s") % len(BACKGROUND)]]),
    ),
    statements=(Statement(item=1, question=0),),
)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("near", [False, True])
async def test_a_sentence_that_says_it_in_other_words_does_not_leave(
    gate: Wired, upstream: FakeUpstream, stream: bool, near: bool
) -> None:
    await gate.meaning.apply(STATED)
    await gate.watchlist.apply(STATED)
    gate.detector.actions = {"fr_1": Action.RESTRICT}
    gate.detector.found = {"fr_1": {0: ""}} if near else {"fr_2": {0: ""}}
    said = "All is well. Some say it was he. Others do not."
    upstream.handler = Script(said, [" Nobody knows."] if stream else ["All is well. Nobody knows."])
    raw = await (await gate.chat("Who?", stream=stream, max_tokens=200)).read()
    assert told(raw) == ("All is well. Nobody knows." if near else said)
    assert reason(raw) == "stop"
    assert "Some say it was he" not in raw.decode() or not near


async def test_sentences_leave_as_they_are_complete(gate: Wired, upstream: FakeUpstream) -> None:
    await gate.meaning.apply(STATED)
    await gate.watchlist.apply(scope(("zzzzzzzzz", PhraseClass.NAME)))
    gate.detector.actions = {"fr_1": Action.RESTRICT}
    gate.detector.found = {"fr_1": {0: ""}}
    said = "All is well. Nothing happens here. Be calm"
    upstream.handler = Script(said, [said])
    raw = await (await gate.chat("Who?", stream=True, max_tokens=200)).read()
    assert told(raw) == said
