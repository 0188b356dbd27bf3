"""Sets of names, made ready beside the event loop."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from guards.phrases.phrase import PhraseClass
from guards.watch import watchlist
from guards.watch.watchlist import Watchlist
from tests.fakes.scopes import scope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guards.phrases.matching import PhraseSet
    from guards.scope import Scope

MANY = scope(*[(f"Person Number{number}", PhraseClass.NAME) for number in range(200)])
FEW = scope(("Rowling", PhraseClass.NAME), request_id="fr_2")


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """The threads in which sets of names were built."""
    threads: list[threading.Thread] = []
    build = watchlist._name_set

    def recorded(held: Mapping[str, Scope]) -> PhraseSet:
        threads.append(threading.current_thread())
        return build(held)

    monkeypatch.setattr(watchlist, "_name_set", recorded)
    return threads


async def test_many_names_are_built_in_a_thread_and_once(built: list[threading.Thread]) -> None:
    watched = Watchlist()
    await watched.apply(MANY)
    await watched.apply(FEW)
    await asyncio.gather(*(watched.prepare(["fr_1", "fr_2"]) for _ in range(3)))
    assert len(watched.names(["fr_2", "fr_1"])) == 201
    (thread,) = built
    assert thread is not threading.main_thread()


async def test_few_names_are_built_when_they_are_asked_for(built: list[threading.Thread]) -> None:
    watched = Watchlist()
    await watched.apply(FEW)
    await watched.prepare(["fr_2"])
    assert not built
    assert len(watched.names(["fr_2"])) == 1


async def test_what_is_withdrawn_while_it_is_built_is_not_watched_for() -> None:
    watched = Watchlist()
    await watched.apply(MANY)
    preparing = asyncio.create_task(watched.prepare(["fr_1"]))
    await asyncio.sleep(0)
    watched.remove("fr_1")
    await preparing
    assert not len(watched.names(["fr_1"]))
    await watched.apply(MANY)
    assert len(watched.names(["fr_1"])) == 200


async def test_what_is_built_is_kept_when_whoever_asked_for_it_is_gone(built: list[threading.Thread]) -> None:
    watched = Watchlist()
    await watched.apply(MANY)
    for _ in range(3):
        preparing = asyncio.create_task(watched.prepare(["fr_1"]))
        await asyncio.sleep(0)
        preparing.cancel()
    await watched.prepare(["fr_1"])
    assert len(watched.names(["fr_1"])) == 200
    assert len(built) == 1


async def test_what_is_replaced_while_it_is_built_is_built_again_in_a_thread(built: list[threading.Thread]) -> None:
    watched = Watchlist()
    await watched.apply(MANY)
    preparing = asyncio.create_task(watched.prepare(["fr_1"]))
    await asyncio.sleep(0)
    await watched.apply(replace(MANY, version=MANY.version + 1))
    await preparing
    assert len(watched.names(["fr_1"])) == 200
    assert len(built) == 2
    assert threading.main_thread() not in built
