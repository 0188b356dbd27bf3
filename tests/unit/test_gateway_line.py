"""The line of events: what leaves, and when. That it never holds a phrase is in `test_withheld`."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from guards.phrases.phrase import PhraseClass
from guards.watch.watchlist import Watchlist
from server.api.chunks import CHAT, Chunks
from server.api.endpoint import Enumerated
from server.gateway.line import Line
from server.gateway.watch import Watch
from tests.fakes.scopes import scope

PHRASES = ("the vault opens with swordfish", "Ron")
WATCHLIST = Watchlist()
asyncio.run(WATCHLIST.apply(scope(*((phrase, PhraseClass.FACT) for phrase in PHRASES))))


def watch() -> Watch:
    return Watch(WATCHLIST, (), own=lambda: (), enumerated=Enumerated)


def chunk(choice: int, text: str, reason: str | None = None, *, field: str = "content") -> bytes:
    one = {"index": choice, "delta": {field: text} if text else {}, "logprobs": None, "finish_reason": reason}
    return b"data: " + orjson.dumps({"id": "x", "created": 1, "model": "m", "choices": [one]})


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


def test_of_a_word_that_a_phrase_begins_in_nothing_leaves() -> None:
    """Its beginning would be a phrase with what the answer goes on with: "I met Ron and Ginny"."""
    line = Line(Chunks(CHAT), watch(), lambda choice: "")
    out = [raw for text in ("I met ", "Ronthe vault opens with swordfish.") for raw in line.take(chunk(0, text))]
    assert 0 in line.cut
    assert line.out(0).rstrip() == "I met"
    assert not any(b"Ron" in raw for raw in out)
