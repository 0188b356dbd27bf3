"""Hits of phrases: counted in memory, added up in the database, in nobody's way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from guards.phrases.matching import PhraseSet
from guards.phrases.phrase import Phrase, PhraseClass
from guards.phrases.shingles import hashes, words_of
from server.gateway.progress import Progress, Recorder
from server.registry.decisions import DecisionLog
from server.registry.hits import ANY_RUN, Hits, PhraseHits
from server.registry.tables import phrase_hits
from server.telemetry import Telemetry
from server.vault import Vault
from tests.fakes.detection import VAULT_KEY

if TYPE_CHECKING:
    from server.registry.registry import Registry

SECRET = "Zaphod Beeblebrox"


def make(registry: Registry, **more: float) -> PhraseHits:
    return PhraseHits(registry.engine, Vault(VAULT_KEY), **more)  # type: ignore[arg-type]


async def rows(registry: Registry) -> int:
    async with registry.engine.connect() as connection:
        count: int = (await connection.execute(select(func.count()).select_from(phrase_hits))).scalar_one()
        return count


async def test_hits_add_up_by_phrase_and_by_what_was_done(registry: Registry) -> None:
    hits = make(registry)
    for _ in range(3):
        hits.count("fr_1", SECRET, True, True)
    hits.count("fr_1", SECRET, False, True)
    await hits.flush()
    hits.count("fr_1", SECRET, False, False)
    hits.count("fr_1", SECRET, True, False)
    hits.count("fr_1", "zaphod  BEEBLEBROX", True, True)
    hits.count("fr_2", SECRET, True, True)
    [found, other] = await hits.of("fr_1", [SECRET, "Trillian"])
    assert (found.flagged, found.unflagged, found.seen) == (4, 1, 2)
    assert found.last_at is not None
    assert other == Hits()
    assert (await hits.of("fr_2", [SECRET]))[0].flagged == 1


async def test_what_an_answer_met_is_counted_once_it_is_over(registry: Registry) -> None:
    words = " ".join(f"quillfeather{number}" for number in range(12))
    phrases = PhraseSet([("fr_1", Phrase(SECRET, PhraseClass.FACT, 12))], shingles={"fr_1": hashes(words_of(words))})
    counted = make(registry)
    recorder = Recorder(DecisionLog(registry.engine, retention=10), Telemetry(), counted)
    quoted = phrases.find(f"It says {words}.")
    met = [*quoted, *phrases.find(f"It was {SECRET}."), *phrases.find(SECRET)]
    recorder.record("chat", "id", Progress(0.0, admitted=True, met=met))
    runs, phrase = await counted.of("fr_1", [ANY_RUN, SECRET])
    assert len(quoted) > 0
    assert (runs.unflagged, phrase.unflagged) == (len(quoted), 2)


async def test_replicas_add_to_the_same_counts(registry: Registry) -> None:
    replicas = [make(registry) for _ in range(2)]
    for round_ in range(5):
        for replica in replicas:
            for number in range(20):
                replica.count("fr_1", f"phrase {round_ * number % 7}", True, True)
        await asyncio.gather(*(replica.flush() for replica in replicas))
    found = await replicas[0].of("fr_1", [f"phrase {number}" for number in range(7)])
    assert sum(hits.flagged for hits in found) == 200


async def test_nothing_readable_is_stored(registry: Registry) -> None:
    hits = make(registry)
    hits.count("fr_1", SECRET, True, True)
    await hits.close()
    async with registry.engine.connect() as connection:
        [row] = (await connection.execute(select(phrase_hits))).all()
    assert len(row.phrase_key) == 64
    assert "zaphod" not in str(row).lower()
    assert (await make(registry).of("fr_1", [SECRET]))[0].flagged == 1


async def test_the_task_writes_and_close_writes_the_rest(registry: Registry) -> None:
    hits = make(registry, interval=0.01)
    hits.start()
    hits.count("fr_1", "one", True, True)
    async with asyncio.timeout(10):
        while not await rows(registry):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    hits.count("fr_1", "two", True, True)
    await hits.close()
    assert await rows(registry) == 2


async def test_memory_is_bounded(registry: Registry) -> None:
    hits = make(registry, limit=5)
    for number in range(8):
        hits.count("fr_1", f"phrase {number}", True, True)
    hits.count("fr_1", "phrase 0", True, True)
    assert hits.dropped == 3
    await hits.flush()
    assert await rows(registry) == 5


async def test_more_than_one_statement_holds(registry: Registry) -> None:
    hits = make(registry)
    for number in range(1_200):
        hits.count("fr_1", f"phrase {number}", True, True)
    await hits.flush()
    assert await rows(registry) == 1_200


async def test_what_the_database_refuses_is_written_later(registry: Registry) -> None:
    hits = make(registry, interval=0.01)
    async with registry.engine.begin() as connection:
        await connection.run_sync(phrase_hits.drop)
    hits.start()
    hits.count("fr_1", "one", True, True)
    await asyncio.sleep(0.05)
    hits.count("fr_1", "one", True, True)
    async with registry.engine.begin() as connection:
        await connection.run_sync(phrase_hits.create)
    async with asyncio.timeout(10):
        while not await rows(registry):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await hits.close()
    assert (await make(registry).of("fr_1", ["one"]))[0].flagged == 2
