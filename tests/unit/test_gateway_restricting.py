"""Requests that are restricted by many phrases."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from guards.engine.restriction import TooManyPhrases
from guards.phrases.matching import PhraseSet
from guards.phrases.phrase import PhraseClass
from guards.scope import Action
from tests.fakes.clients import asked, reason, told
from tests.fakes.gateway import NEEDLE, restriction, wired
from tests.fakes.scopes import scope
from tests.fakes.script import Script
from tests.fakes.wire import GENERATING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from guards.phrases.matching import Hit
    from guards.phrases.phrase import Phrase
    from server.settings import Settings
    from tests.fakes.gateway import Wired
    from tests.fakes.upstream import FakeUpstream

MANY = scope(*[(f"the vault opens with number{number}", PhraseClass.FACT) for number in range(200)])
ASKED = f"who is {NEEDLE}?"


class Restriction:
    """Makes arguments that a test can read, and takes its time."""

    def __init__(self, seconds: float = 0.01) -> None:
        self._seconds = seconds
        self.threads: list[threading.Thread] = []
        self.begun = threading.Event()
        self.most = 0
        self._at_once = 0

    def __call__(self, phrases: Sequence[Phrase], associated: Sequence[str]) -> dict[str, Any]:
        self.threads.append(threading.current_thread())
        self.begun.set()
        self._at_once += 1
        self.most = max(self.most, self._at_once)
        time.sleep(self._seconds)
        self._at_once -= 1
        return restriction(phrases, associated)


@asynccontextmanager
async def restricting(upstream: FakeUpstream, settings: Settings, making: Restriction) -> AsyncIterator[Wired]:
    """A gateway that restricts what is flagged by many phrases."""
    async with wired(upstream.url, settings, restriction=making) as gate:
        await gate.watchlist.apply(MANY)
        gate.detector.action = Action.RESTRICT
        yield gate


async def test_arguments_of_many_phrases_are_made_in_a_thread_one_after_another(
    upstream: FakeUpstream, settings: Settings
) -> None:
    making = Restriction()
    async with restricting(upstream, settings, making) as gate:
        answers = await asyncio.gather(*(gate.chat(ASKED, max_tokens=3) for _ in range(3)))
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert len(making.threads) == 3
    assert threading.main_thread() not in making.threads
    assert making.most == 1


async def test_a_long_request_is_read_in_a_thread_for_what_it_states_itself(
    upstream: FakeUpstream, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []
    find = PhraseSet.find

    def recorded(phrases: PhraseSet, text: str) -> list[Hit]:
        threads.append(threading.current_thread())
        return find(phrases, text)

    monkeypatch.setattr(PhraseSet, "find", recorded)
    monkeypatch.setattr("server.gateway.watch._LONG", 500)
    async with wired(upstream.url, settings) as gate:
        await gate.watchlist.apply(MANY)
        gate.detector.action = Action.RESTRICT
        await gate.chat(f"{'word ' * 100} the vault opens with number7. {ASKED}", max_tokens=3)
        restricting = upstream.generated()[-1].body["vllm_xargs"]["unremember_phrases"].split("|")
    assert len(restricting) == 199
    assert "the vault opens with number7" not in restricting
    assert threads
    assert threading.main_thread() not in threads


def too_many(phrases: Sequence[Phrase], associated: Sequence[str]) -> dict[str, Any]:
    raise TooManyPhrases("unremember_phrases must hold at most 3")


async def test_near_more_phrases_than_an_engine_takes_the_watch_stands_alone(
    upstream: FakeUpstream, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with wired(upstream.url, settings, restriction=too_many) as gate:
        await gate.watchlist.apply(MANY)
        gate.detector.action = Action.RESTRICT
        upstream.handler = Script("Once upon a time the vault opens with number7 and nobody knew")
        answer = await gate.chat(ASKED)
        assert (await answer.json())["choices"][0]["message"]["content"].rstrip() == "Once upon a time"
        # As to anybody: a refusal would tell which prompts come near.
        assert answer.status == 200
    assert answer.headers["x-request-id"] in caplog.text
    assert "vault" not in caplog.text


async def test_arguments_are_made_on_for_the_next_request_when_a_client_leaves(
    upstream: FakeUpstream, settings: Settings
) -> None:
    making = Restriction(seconds=0.5)
    async with restricting(upstream, settings, making) as gate:
        leaving = [asyncio.create_task(gate.chat(ASKED, max_tokens=3)) for _ in range(3)]
        assert await asyncio.to_thread(making.begun.wait, 10)
        for each in leaving:
            each.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        assert (await gate.chat(ASKED, max_tokens=3)).status == 200
    assert making.most == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", GENERATING)
async def test_an_answer_that_meets_one_of_more_phrases_than_an_engine_takes_ends_before_it(
    upstream: FakeUpstream, settings: Settings, path: str, stream: bool
) -> None:
    async with wired(upstream.url, settings, restriction=too_many) as gate:
        await gate.watchlist.apply(MANY)
        upstream.handler = Script("Once upon a time the vault opens with number7 and nobody knew")
        answer = await gate.post(path, asked(path, stream=stream))
        raw = await answer.read()
    assert answer.status == 200
    assert told(path, raw).rstrip() == "Once upon a time"
    assert reason(path, raw) == "stop"
