"""Requests that are restricted by many phrases."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

from guards.phrases.phrase import PhraseClass
from guards.scope import Action
from tests.fakes.gateway import NEEDLE, restriction, wired
from tests.fakes.scopes import scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guards.phrases.phrase import Phrase
    from server.settings import Settings
    from tests.fakes.upstream import FakeUpstream

MANY = scope(*[(f"the vault opens with number{number}", PhraseClass.FACT) for number in range(200)])
ASKED = f"who is {NEEDLE}?"


class Restriction:
    """Makes arguments that a test can read, and takes its time."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.most = 0
        self._at_once = 0

    def __call__(self, phrases: Sequence[Phrase], associated: Sequence[str]) -> dict[str, Any]:
        self.threads.append(threading.current_thread())
        self._at_once += 1
        self.most = max(self.most, self._at_once)
        time.sleep(0.01)
        self._at_once -= 1
        return restriction(phrases, associated)


async def test_arguments_of_many_phrases_are_made_in_a_thread_one_after_another(
    upstream: FakeUpstream, settings: Settings
) -> None:
    making = Restriction()
    async with wired(upstream.url, settings, restriction=making) as gate:
        await gate.watchlist.apply(MANY)
        gate.detector.action = Action.RESTRICT
        answers = await asyncio.gather(*(gate.chat(ASKED, max_tokens=3) for _ in range(3)))
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert len(making.threads) == 3
    assert threading.main_thread() not in making.threads
    assert making.most == 1
