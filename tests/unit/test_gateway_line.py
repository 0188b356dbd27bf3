"""The line of events: whatever comes in, what leaves is a part of it, in order, and meets no phrase."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.phrases.phrase import PhraseClass
from guards.watch.watchlist import Watchlist
from server.api.answer import TEXT
from server.api.chunks import CHAT, Chunks
from server.api.endpoint import Enumerated
from server.gateway.line import Line
from server.gateway.watch import Watch
from tests.fakes.scopes import scope

PHRASES = ("the vault opens with swordfish", "Rowling", "Ron", "4 Privet Drive")
WATCHLIST = Watchlist()
asyncio.run(WATCHLIST.apply(scope(*((phrase, PhraseClass.FACT) for phrase in PHRASES))))

_words = st.sampled_from(
    [*PHRASES, "the vault", "Row", "Ronald", "from one", "Privet", "and", "so", "on", ".", "\u200b"]
)
_spelt = st.sampled_from([str, str.upper, lambda text: "-".join(text), lambda text: text.replace(" ", "\n")])
_texts = st.lists(st.builds(lambda word, spelt: spelt(word), _words, _spelt), max_size=8).map(" ".join)


def watch() -> Watch:
    return Watch(WATCHLIST, (), own=lambda: (), enumerated=Enumerated)


def meets(text: str) -> bool:
    return any(matcher.feed(text) or matcher.finish() for matcher in watch().matchers(TEXT))


def chunk(choice: int, text: str, reason: str | None = None, *, field: str = "content") -> bytes:
    one = {"index": choice, "delta": {field: text} if text else {}, "logprobs": None, "finish_reason": reason}
    return b"data: " + orjson.dumps({"id": "x", "created": 1, "model": "m", "choices": [one]})


def told(events: list[bytes], choice: int) -> str:
    choices: list[dict[str, Any]] = [
        one for raw in events if raw.startswith(b"data: {") for one in orjson.loads(raw[6:])["choices"]
    ]
    return "".join(one["delta"].get("content", "") for one in choices if one["index"] == choice)


@settings(deadline=None)
@given(texts=st.lists(_texts, min_size=1, max_size=3), data=st.data())
def test_what_leaves_meets_no_phrase_and_what_meets_none_leaves(texts: list[str], data: st.DataObject) -> None:
    left = dict(enumerate(texts))
    line = Line(Chunks(CHAT), watch(), lambda choice: "")
    sent: list[bytes] = []
    out: list[bytes] = []
    while left:
        choice = data.draw(st.sampled_from(sorted(left)))
        size = data.draw(st.integers(1, 9))
        piece, left[choice] = left[choice][:size], left[choice][size:]
        if not piece:
            del left[choice]
        sent.append(chunk(choice, piece, None if piece else "stop"))
        out += line.take(sent[-1])
    sent.append(b"data: [DONE]")
    out += [*line.take(sent[-1]), *line.finish()]

    for choice, text in enumerate(texts):
        met = meets(text)
        assert (choice in line.cut) == met
        assert text.startswith(told(out, choice))
        assert not meets(told(out, choice)) or not met
        if not met:
            assert told(out, choice) == text
    if not line.cut:
        assert out == sent


@settings(deadline=None)
@given(texts=st.lists(_texts, min_size=1, max_size=4), data=st.data())
def test_neither_does_what_goes_on_from_it(texts: list[str], data: st.DataObject) -> None:
    """An answer that is rolled back, and whatever it is continued with: what has left and what follows are one text."""
    line = Line(Chunks(CHAT), watch(), lambda choice: "")
    out: list[bytes] = []
    for place, text in enumerate(texts):
        continuation, kept, left = Chunks(CHAT), told(out, 0), text
        while 0 not in line.cut:
            size = data.draw(st.integers(1, 9))
            piece, left = left[:size], left[size:]
            raw = chunk(0, piece, None if piece else "stop")
            out += line.take_of(0, continuation, raw, closes=True) if place else line.take(raw)
            if not piece:
                break
        if 0 not in line.cut:
            assert told(out, 0) == kept + text
            break
        assert line.out(0) == told(out, 0)
        assert (kept + text).startswith(told(out, 0))
        line.resume(0, 0, closes=True)
    assert not meets(told([*out, *line.finish()], 0))


@pytest.mark.parametrize(("begun", "ended", "leaves"), [("It was R", "on", False), ("It was Ron", "ald.", True)])
def test_reasoning_may_end_in_the_event_in_which_the_answer_begins(begun: str, ended: str, leaves: bool) -> None:
    line = Line(Chunks(CHAT), watch(), lambda choice: "")
    last = {"index": 0, "delta": {"content": "Hello", "reasoning": ended}, "logprobs": None, "finish_reason": None}
    events = [
        chunk(0, begun, field="reasoning"),
        b"data: " + orjson.dumps({"id": "x", "created": 1, "model": "m", "choices": [last]}),
    ]
    out = [raw for event in events for raw in line.take(event)]
    assert (out == events) == leaves
    assert (0 in line.cut) != leaves


def test_an_answer_does_not_wait_behind_the_end_of_its_reasoning() -> None:
    line = Line(Chunks(CHAT), watch(), lambda choice: "")
    thought = chunk(0, "This is about the vault", field="reasoning")
    answer = chunk(0, "Hello there")
    assert line.take(thought) == []
    assert line.take(answer) == [thought, answer]
    assert line.take(chunk(0, " opens with swordfish", field="reasoning")) == []
    assert line.cut[0].channel == "reasoning"
