"""Answers that meet a phrase: what of them reaches the client, beside the cases of the table."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from guards.detect.allowance import CLIENT
from guards.errors import CannotDecide
from guards.phrases.phrase import PhraseClass
from guards.scope import Action, Context, Items, Mode, Statement
from server.gateway.watch import sentences_in
from tests.fakes.clients import (
    alternatives,
    answers,
    asked,
    called,
    events,
    formatted,
    reason,
    reasoning,
    scored,
    told,
    tooled,
    usage,
)
from tests.fakes.gateway import BACKGROUND, Wired, settled, wired
from tests.fakes.scopes import scope
from tests.fakes.script import Script
from tests.fakes.upstream import FakeUpstream, Received, Reply
from tests.fakes.wire import CHAT, COMPLETIONS, GENERATING, MESSAGES, RESPONSES, as_asked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from numpy.typing import NDArray

    from server.settings import Settings

FACT = "the vault opens with swordfish"
STORY = "Once upon a time the vault opens with swordfish and nobody knew. The end"


REASONING = (CHAT, RESPONSES, MESSAGES)
FACTS = scope((FACT, PhraseClass.FACT))
NAMES = scope(("Rowling", PhraseClass.NAME))


@pytest.fixture
async def gate(upstream: FakeUpstream, settings: Settings, request: pytest.FixtureRequest) -> AsyncIterator[Wired]:
    given = getattr(request, "param", {})
    async with wired(upstream.url, settings.model_copy(update=given)) as running:
        for each in running.pool.upstreams:
            assert each.proof is not None
            each.proof = type(each.proof)(True, "", restricts=True)
        upstream.sent.clear()
        yield running


@pytest.mark.parametrize("path", GENERATING)
async def test_a_stream_goes_on_from_before_the_phrase(gate: Wired, upstream: FakeUpstream, path: str) -> None:
    await gate.watchlist.apply(FACTS)
    upstream.handler = script = Script(STORY, [" a door stayed shut. The end"])
    counted = {"stream_options": {"include_usage": True}} if path in (CHAT, COMPLETIONS) else {}
    raw = await (await gate.post(path, asked(path, stream=True, **counted))).read()
    assert told(path, raw) == "Once upon a time a door stayed shut. The end"
    assert reason(path, raw) == "stop"
    first, second = script.requests
    assert FACT in second["vllm_xargs"]["unremember_phrases"]
    if path == COMPLETIONS:
        assert second["prompt"] == first["prompt"] + "Once upon a time"
    else:
        chat = as_asked(path, second) if path == RESPONSES else second
        content = [{"type": "text", "text": "Once upon a time"}]
        assert chat["messages"][-1]["role"] == "assistant"
        assert chat["messages"][-1]["content"] in ("Once upon a time", content)
        assert (chat["continue_final_message"], chat["add_generation_prompt"]) == (True, False)
    direct = await (await gate.session.post(f"{upstream.url}/tokenize", json=as_asked(path, first))).json()
    prompt, answered = usage(path, raw)
    assert prompt == direct["count"]
    assert len(told(path, raw)) >= answered > len("Once upon a time")
    assert gate.decisions[-1].outcome == "rolled_back"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", GENERATING)
@pytest.mark.parametrize("gate", [{"watch_attempts": count} for count in range(3)], indirect=True, ids=str)
async def test_what_meets_phrases_again_and_again_ends_as_a_stop(
    gate: Wired, upstream: FakeUpstream, path: str, stream: bool, request: pytest.FixtureRequest
) -> None:
    attempts = request.node.callspec.params["gate"]["watch_attempts"]
    await gate.watchlist.apply(FACTS)
    again = f" they said {FACT} again"
    upstream.handler = script = Script(STORY, [again] * 9)
    raw = await (await gate.post(path, asked(path, stream=stream))).read()
    assert FACT not in told(path, raw)
    assert told(path, raw).startswith(" they said" if attempts and not stream else "Once upon a time")
    assert reason(path, raw) == "stop"
    # The client's own, the attempts, and of a stream one more for how it ends.
    assert len(script.requests) == 1 + attempts + stream


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", GENERATING)
async def test_where_nothing_restricts_the_answer_ends(
    gate: Wired, upstream: FakeUpstream, path: str, stream: bool
) -> None:
    await gate.watchlist.apply(FACTS)
    for each in gate.pool.upstreams:
        assert each.proof is not None
        each.proof = type(each.proof)(True, "", restricts=False)
    upstream.handler = Script(STORY)
    raw = await (await gate.post(path, asked(path, stream=stream))).read()
    assert told(path, raw).rstrip() == "Once upon a time"
    assert reason(path, raw) == "stop"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", GENERATING)
async def test_an_upstream_that_cannot_go_on_ends_the_answer(
    gate: Wired, upstream: FakeUpstream, path: str, stream: bool
) -> None:
    await gate.watchlist.apply(FACTS)
    upstream.handler = Script(STORY, refuses_to_go_on=True)
    answer = await gate.post(path, asked(path, stream=stream))
    raw = await answer.read()
    assert answer.status == 200
    assert told(path, raw).rstrip() == "Once upon a time"
    assert reason(path, raw) == "stop"


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize("again", [0, 1])
async def test_a_stream_whose_choices_are_all_rolled_back_is_complete(
    gate: Wired, upstream: FakeUpstream, path: str, again: int
) -> None:
    await gate.watchlist.apply(FACTS)
    upstream.handler = Script({0: STORY, 1: STORY}, [f" and {FACT} too"] * again + [" it rained."] * 2)

    async def between(index: int) -> None:
        await settled()

    upstream.between = between  # or all of the first stream would have come before it is broken off
    counted = {"stream_options": {"include_usage": True}}
    raw = await (await gate.post(path, asked(path, n=2, stream=True, **counted))).read()
    for choice in range(2):
        assert told(path, raw, choice) == f"Once upon a time{' and' * (again > choice)} it rained."
        assert reason(path, raw, choice) == "stop"
    assert raw.count(b"data: [DONE]") == 1
    assert usage(path, raw)[1] > 0


NAMED = "It was Joanne Rowling who wrote it."


async def test_names_are_left_alone_on_prompts_near_another_scope(gate: Wired, upstream: FakeUpstream) -> None:
    await gate.watchlist.apply(NAMES)
    gate.detector.found = {"fr_2": {0: ""}}
    gate.detector.action = Action.RESTRICT
    upstream.handler = Script(NAMED)
    raw = await (await gate.post(CHAT, asked(CHAT, "Who wrote Harry Potter?"))).read()
    assert told(CHAT, raw) == NAMED


@pytest.mark.parametrize("path", GENERATING)
async def test_what_a_schema_lists_may_be_answered(gate: Wired, upstream: FakeUpstream, path: str) -> None:
    await gate.watchlist.apply(scope((FACT, PhraseClass.FACT), context=Context.SUPPRESS))
    upstream.handler = Script(json.dumps(FACT))
    raw = await (await gate.post(path, asked(path, "Which?", **formatted(path, {"enum": [FACT, "no"]})))).read()
    assert json.loads(told(path, raw)) == FACT


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", GENERATING)
async def test_letters_written_as_numbers_are_read(
    gate: Wired, upstream: FakeUpstream, path: str, stream: bool
) -> None:
    await gate.watchlist.apply(FACTS)
    hidden = "".join(f"\\u{ord(letter):04x}" for letter in "swordfish")
    upstream.handler = Script(f"Once the vault opens with {hidden} and more.", [" it rained.", "It rained."])
    raw = await (await gate.post(path, asked(path, stream=stream))).read()
    assert "0073" not in told(path, raw)
    assert told(path, raw).endswith("t rained.")
    upstream.handler = Script(r"In C:\users, \n ends a line, \under is a word, and \u00e9 a letter.")
    raw = await (await gate.post(path, asked(path, stream=stream))).read()
    assert told(path, raw) == r"In C:\users, \n ends a line, \under is a word, and \u00e9 a letter."


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES])
async def test_what_a_tool_lists_may_be_handed_to_it_and_not_be_told(
    gate: Wired, upstream: FakeUpstream, path: str, stream: bool
) -> None:
    await gate.watchlist.apply(scope((FACT, PhraseClass.FACT), context=Context.SUPPRESS))
    listing = tooled(path, schema={"type": "object", "properties": {"said": {"enum": [FACT, "no"]}}})
    upstream.handler = Script(STORY, [" it rained.", "It rained."])
    raw = await (await gate.post(path, asked(path, "Which?", stream=stream, **listing))).read()
    assert FACT not in told(path, raw)
    upstream.handler = Script("", arguments=json.dumps({"said": FACT}))
    raw = await (await gate.post(path, asked(path, "Which?", stream=stream, **listing))).read()
    assert json.loads(called(path, raw)) == {"said": FACT}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
async def test_nor_is_a_turn_of_the_users_that_is_gone_on_with(
    gate: Wired, upstream: FakeUpstream, path: str, stream: bool
) -> None:
    await gate.watchlist.apply(FACTS)
    upstream.handler = script = Script("fish, they say.", ["cery, they say."])
    said = ["Say.", "The vault opens with sword"]
    if path == CHAT:
        parts = [{"type": "text", "text": text} for text in said]
        going_on = {"continue_final_message": True, "add_generation_prompt": False}
        body = asked(path, stream=stream, messages=[{"role": "user", "content": parts}], **going_on)
    else:
        parts = [{"type": "input_text", "text": text} for text in said]
        turn = {"type": "message", "role": "user", "status": "in_progress", "content": parts}
        body = asked(path, stream=stream, input=[turn])
    raw = await (await gate.post(path, body)).read()
    assert "fish" not in told(path, raw)
    assert all("assistant" not in json.dumps(request) for request in script.requests)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, RESPONSES])
async def test_nor_are_there_fewer_of_them_after_a_rollback(
    gate: Wired, upstream: FakeUpstream, path: str, stream: bool
) -> None:
    await gate.watchlist.apply(scope(("Rowling", PhraseClass.FACT)))
    upstream.handler = Script("It was Rowling.", [" somebody else.", "It was somebody else."])
    raw = await (await gate.post(path, asked(path, "Who?", stream=stream, **scored(path, 3)))).read()
    assert b"Rowling" not in raw
    shown = alternatives(path, raw)
    assert max(shown) == 3
    assert set(shown[-2:]) == {3}


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, RESPONSES])
async def test_an_upstream_that_gives_no_more_alternatives_than_were_asked_for(
    gate: Wired, upstream: FakeUpstream, path: str
) -> None:
    """Started with a lower limit than usual, it refuses what is asked for besides; the client is to notice nothing."""
    await gate.watchlist.apply(NAMES)
    gate.detector.found = {"fr_1": {0: ""}}
    gate.detector.action = Action.RESTRICT
    script = Script("x", ["It was somebody else."])

    def limited(request: Received) -> Reply | None:
        wanted = [request.body.get(name) or 0 for name in ("top_logprobs", "logprobs")] if request.raw else [0]
        return Reply(400, b'{"error":{"message":"too many"}}') if max(wanted) > 5 else script(request)

    upstream.handler = limited
    response = await gate.post(path, asked(path, "Who?", **scored(path, 5)))
    raw = await response.read()
    assert response.status == 200
    assert b"Rowling" not in raw
    assert {*alternatives(path, raw)} in ({4}, {5}, {4, 5})


@pytest.mark.parametrize("stream", [False, True])
async def test_places_in_the_text_count_on_after_a_rollback(gate: Wired, upstream: FakeUpstream, stream: bool) -> None:
    await gate.watchlist.apply(FACTS)
    upstream.handler = Script(STORY, [" it rained."])
    raw = await (await gate.post(COMPLETIONS, asked(COMPLETIONS, stream=stream, **scored(COMPLETIONS, 2)))).read()
    choices = [choice["logprobs"] or {} for each in answers(COMPLETIONS, raw) for choice in each["choices"]]
    places = [place for choice in choices for place in choice.get("text_offset", ())]
    tokens = [token for choice in choices for token in choice.get("tokens", ())]
    assert tokens
    assert places == [len("".join(tokens[:place])) for place in range(len(tokens))]


async def test_a_pause_and_shadow_change_nothing(gate: Wired, upstream: FakeUpstream) -> None:
    upstream.handler = Script(STORY)
    await gate.watchlist.apply(scope((FACT, PhraseClass.FACT), mode=Mode.SHADOW))
    assert told(CHAT, await (await gate.post(CHAT, asked(CHAT))).read()) == STORY
    await gate.watchlist.apply(FACTS)
    gate.paused[0] = True
    assert told(CHAT, await (await gate.post(CHAT, asked(CHAT))).read()) == STORY
    gate.paused[0] = False
    gate.watchlist.remove("fr_1")
    assert told(CHAT, await (await gate.post(CHAT, asked(CHAT))).read()) == STORY


async def test_a_client_that_leaves_in_a_continuation_ends_it(gate: Wired, upstream: FakeUpstream) -> None:
    await gate.watchlist.apply(FACTS)
    upstream.handler = Script(STORY, [" and so on" * 200])

    async def between(index: int) -> None:
        await settled()

    upstream.between = between
    async with await gate.post(CHAT, asked(CHAT, stream=True, limit=2000)) as response:
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
@pytest.mark.parametrize("path", REASONING)
async def test_nor_do_arguments_that_say_it_in_other_words(
    gate: Wired, upstream: FakeUpstream, path: str, stream: bool
) -> None:
    await gate.meaning.apply(STATED)
    await gate.watchlist.apply(STATED)
    gate.detector.actions = {"fr_1": Action.RESTRICT}
    gate.detector.found = {"fr_1": {0: ""}}
    calls = [json.dumps({"note": {"texts": [said]}}) for said in ("All is well. Some say it was he.", "All is well.")]
    script = Script("", calls[1:], arguments=calls[0])
    upstream.handler = script
    raw = await (await gate.post(path, asked(path, "Who?", stream=stream, **tooled(path)))).read()
    assert b"Some say" not in raw
    assert json.loads(called(path, raw)) == json.loads(calls[1])


def test_json_is_read_however_deep_and_its_names_too() -> None:
    deep = "[" * 1_000 + '{"Some say it.": "It was he."}' + "]" * 1_000
    assert set(sentences_in(deep)) == {"Some say it.", "It was he."}
    assert sentences_in("[" * 3_000) == ["[" * 3_000]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", GENERATING)
async def test_nor_do_structured_answers(gate: Wired, upstream: FakeUpstream, path: str, stream: bool) -> None:
    await gate.meaning.apply(STATED)
    await gate.watchlist.apply(STATED)
    gate.detector.actions = {"fr_1": Action.RESTRICT}
    gate.detector.found = {"fr_1": {0: ""}}
    answered = [json.dumps({"said": said}) for said in ("Some say it was he.", "All is well.")]
    upstream.handler = Script(answered[0], answered[1:])
    body = asked(path, "Who?", stream=stream, **formatted(path, {"type": "object"}))
    raw = await (await gate.post(path, body)).read()
    assert b"Some say" not in raw
    assert told(path, raw) == answered[1]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", GENERATING)
async def test_a_sentence_that_cannot_be_judged_does_not_leave(
    gate: Wired, upstream: FakeUpstream, path: str, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gate.meaning.apply(STATED)
    await gate.watchlist.apply(STATED)
    gate.detector.actions = {"fr_1": Action.RESTRICT}
    gate.detector.found = {"fr_1": {0: ""}}
    upstream.handler = Script("All is well. Nobody knows. Be calm.")
    encode = gate.meaning.encode

    async def overloaded(texts: Sequence[str]) -> NDArray[np.float32]:
        if any("Nobody" in text for text in texts):
            raise CannotDecide("busy")
        return await encode(texts)

    monkeypatch.setattr(gate.meaning, "encode", overloaded)
    response = await gate.post(path, asked(path, "Who?", stream=stream))
    raw = await response.read()
    assert response.status == (200 if stream else 503)
    assert b"Nobody" not in raw
    if stream:
        # Of sentences that came together none has been judged.
        assert told(path, raw) in {"", "All is well."}
        assert reason(path, raw) == "stop"
        assert events(path, raw)


@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_model_says_is_not_the_clients_to_pay_for(
    gate: Wired, upstream: FakeUpstream, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gate.meaning.apply(STATED)
    await gate.watchlist.apply(STATED)
    gate.detector.actions = {"fr_1": Action.RESTRICT}
    gate.detector.found = {"fr_1": {0: ""}}
    upstream.handler = Script("All is well. Be calm.")
    encode, charged = gate.meaning.encode, []

    async def noted(texts: Sequence[str]) -> NDArray[np.float32]:
        charged.append(CLIENT.get())
        return await encode(texts)

    monkeypatch.setattr(gate.meaning, "encode", noted)
    assert (await gate.post(CHAT, asked(CHAT, "Who?", stream=stream))).status == 200
    assert set(charged) == {None}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("thought", "begun", "near"),
    [(STORY, "Once upon a time", False), ("All is well. Some say it was he. Others do not.", "All is well.", True)],
    ids=["phrase", "sentence"],
)
@pytest.mark.parametrize("path", REASONING)
@pytest.mark.parametrize(
    ("gate", "live"),
    [({"reasoning": "held"}, False), ({"reasoning": "live"}, True)],
    ids=["held", "live"],
    indirect=["gate"],
)
async def test_neither_does_reasoning_that_says_it(
    gate: Wired, upstream: FakeUpstream, path: str, thought: str, begun: str, near: bool, stream: bool, live: bool
) -> None:
    """A phrase, in the answer to anybody; in other words, in the answer to a prompt that comes near."""
    live = live and stream
    forgotten = STATED if near else FACTS
    await gate.meaning.apply(forgotten)
    await gate.watchlist.apply(forgotten)
    gate.detector.actions = {"fr_1": Action.RESTRICT}
    gate.detector.found = {"fr_1": {0: ""}} if near else {}
    # A prompt that comes near is asked again at once, though there is no phrase to restrict it by.
    thoughts = [*([thought] * (1 + near)), "Nothing comes to mind. Be kind."]
    upstream.handler = script = Script("All is quiet.", ["All is well."], thinks=thoughts)
    raw = await (await gate.post(path, asked(path, "Who?", stream=stream))).read()
    assert script.thinks == []
    assert told(path, raw) == "All is well."
    assert reason(path, raw) == "stop"
    # Where it is live it begins again after what of it is out, which counts; else as if it had not been.
    last = script.requests[-1]
    limits = [last[name] for name in ("max_completion_tokens", "max_tokens", "max_output_tokens") if name in last]
    assert min(limits) == 200 - len(begun) * live
    assert reasoning(path, raw) == f"{begun if live else ''}Nothing comes to mind. Be kind."
    if stream:
        assert events(path, raw)


@pytest.mark.parametrize("flagged", [False, True])
@pytest.mark.parametrize("path", REASONING)
@pytest.mark.parametrize(
    ("gate", "live"),
    [({"reasoning": "held"}, False), ({"reasoning": "live"}, True)],
    ids=["held", "live"],
    indirect=["gate"],
)
async def test_reasoning_is_held_whatever_is_watched_for(
    gate: Wired, upstream: FakeUpstream, path: str, flagged: bool, live: bool
) -> None:
    """No scope, or one that the prompt reaches: from when a thought begins to come a client learns nothing."""
    if flagged:
        await gate.watchlist.apply(FACTS)
        gate.detector.actions = {"fr_1": Action.RESTRICT}
        gate.detector.found = {"fr_1": {0: ""}}
    thought = "¡First this one thing. " + "Then another. " * 9
    upstream.handler = script = Script("All is well.", ["All is well."], thinks=[thought] * 2)
    thinking, go_on = asyncio.Event(), asyncio.Event()

    async def between(place: int) -> None:
        if place >= 12:
            if len(script.requests) == 1 + flagged:
                thinking.set()
            await go_on.wait()

    upstream.between = between
    response = await gate.post(path, asked(path, "Who?", stream=True))
    await thinking.wait()
    early = bytearray()
    with contextlib.suppress(TimeoutError):
        while True:
            early += await asyncio.wait_for(response.content.readany(), 0.1)
    assert ("¡".encode() in early or b"\\u00a1" in early) == live
    go_on.set()
    raw = bytes(early) + await response.read()
    assert reasoning(path, raw) == thought
    assert told(path, raw) == "All is well."


@pytest.mark.parametrize("near", [False, True], ids=["phrase", "sentence"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", REASONING)
async def test_reasoning_before_an_answer_that_begins_with_it_is_seen_once(
    gate: Wired, upstream: FakeUpstream, path: str, stream: bool, near: bool
) -> None:
    forgotten = STATED if near else FACTS
    await gate.meaning.apply(forgotten)
    await gate.watchlist.apply(forgotten)
    gate.detector.actions = {"fr_1": Action.RESTRICT}
    gate.detector.found = {"fr_1": {0: ""}} if near else {}
    begins = "Some say it was he. Others do not." if near else STORY.removeprefix("Once upon a time ")
    thoughts = [*["One thought."] * (1 + near), "Another thought."]
    upstream.handler = Script(begins, ["All is well."], thinks=thoughts)
    raw = await (await gate.post(path, asked(path, "Who?", stream=stream))).read()
    assert told(path, raw) == "All is well."
    assert reasoning(path, raw) == "Another thought."


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", REASONING)
async def test_a_call_after_reasoning_that_says_it_is_made_all_the_same(
    gate: Wired, upstream: FakeUpstream, path: str, stream: bool
) -> None:
    await gate.watchlist.apply(FACTS)
    calls = [json.dumps({"note": "it rained"})] * 2
    upstream.handler = Script("", calls[1:], arguments=calls[0], thinks=[STORY, "Let us take a note."])
    raw = await (await gate.post(path, asked(path, stream=stream, **tooled(path)))).read()
    assert b"swordfish" not in raw
    assert reasoning(path, raw) == "Let us take a note."
    assert json.loads(called(path, raw)) == {"note": "it rained"}


@pytest.mark.parametrize("stream", [False, True])
async def test_each_choice_reasons_by_itself(gate: Wired, upstream: FakeUpstream, stream: bool) -> None:
    await gate.watchlist.apply(FACTS)
    upstream.handler = Script("All is quiet.", ["One.", "Two."], thinks=[STORY, "Calm.", "Calm."])
    raw = await (await gate.post(CHAT, asked(CHAT, n=2, stream=stream))).read()
    assert b"swordfish" not in raw
    assert [told(CHAT, raw, choice) for choice in range(2)] == ["One.", "Two."]
    assert [reason(CHAT, raw, choice) for choice in range(2)] == ["stop", "stop"]
    assert "Calm." in reasoning(CHAT, raw)


@pytest.mark.parametrize("path", REASONING)
async def test_an_answer_loses_no_more_than_the_reasoning_that_says_it_every_time(
    gate: Wired, upstream: FakeUpstream, path: str
) -> None:
    await gate.watchlist.apply(FACTS)
    upstream.handler = Script("All is quiet.", ["All is well."] * 9, thinks=[STORY] * 9)
    raw = await (await gate.post(path, asked(path))).read()
    assert told(path, raw) == "All is well."
    assert reason(path, raw) == "stop"
    assert reasoning(path, raw) == ""


@pytest.mark.parametrize("path", GENERATING)
async def test_sentences_leave_as_they_are_complete(gate: Wired, upstream: FakeUpstream, path: str) -> None:
    await gate.meaning.apply(STATED)
    await gate.watchlist.apply(scope(("zzzzzzzzz", PhraseClass.NAME)))
    gate.detector.actions = {"fr_1": Action.RESTRICT}
    gate.detector.found = {"fr_1": {0: ""}}
    said = "All is well. Nothing happens here. Be calm"
    upstream.handler = Script(said, [said])
    raw = await (await gate.post(path, asked(path, "Who?", stream=True))).read()
    assert told(path, raw) == said


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_given_as_tokens_is_not_completed_either(
    gate: Wired, upstream: FakeUpstream, stream: bool
) -> None:
    await gate.watchlist.apply(FACTS)
    upstream.handler = Script("fish, they say.", ["cery, they say."])
    tokens = [ord(character) for character in "The vault opens with sword"]
    raw = await (await gate.complete(tokens, stream=stream, max_tokens=200)).read()
    assert told(COMPLETIONS, raw) == "cery, they say."
    upstream.handler = Script(STORY, [" it rained."] if stream else ["Once upon a time it rained."])
    raw = await (await gate.complete(tokens, stream=stream, max_tokens=200)).read()
    assert told(COMPLETIONS, raw) == "Once upon a time it rained."
    assert reason(COMPLETIONS, raw) == "stop"


@pytest.mark.parametrize("stream", [False, True])
async def test_of_a_word_that_a_phrase_begins_in_nothing_is_kept(
    gate: Wired, upstream: FakeUpstream, stream: bool
) -> None:
    # Its beginning would end like a word: "I met Ron". What a stream has let out of the word is not one.
    await gate.watchlist.apply(scope(("Ron", PhraseClass.FACT), ("swordfish", PhraseClass.FACT)))
    for each in gate.pool.upstreams:
        assert each.proof is not None
        each.proof = type(each.proof)(True, "", restricts=False)
    upstream.handler = Script("I met Ronswordfish there.")
    raw = await (await gate.post(CHAT, asked(CHAT, stream=stream))).read()
    assert told(CHAT, raw).split()[:2] == ["I", "met"]
    assert "Ron" not in told(CHAT, raw).split()
