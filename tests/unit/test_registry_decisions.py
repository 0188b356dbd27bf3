"""Decisions: readable at once, written in batches, kept by count, never in anybody's way."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from sqlalchemy import func, select

from guards.plan import Band
from guards.scope import Action, Mode
from server.registry.decisions import Decision, DecisionDetection, DecisionIntervention, DecisionLog
from server.registry.tables import decisions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from server.registry.registry import Registry

DECISION = Decision(
    id="req-1",
    at=1_700_000_000.25,
    endpoint="chat",
    outcome="declined",
    detections=(DecisionDetection("fr_1", 2, Mode.ENFORCE, Band.HIGH, 0.97, 0.9, 0.07),),
    interventions=(DecisionIntervention(Action.DECLINE, ("fr_1",)),),
    shadow=(DecisionIntervention(Action.CORRUPT, ("fr_2", "fr_3")),),
    timings_ms={"encode": 3.5},
)


def numbered(number: int) -> Decision:
    return replace(DECISION, id=f"req-{number}")


async def rows(registry: Registry) -> int:
    async with registry.engine.connect() as connection:
        count: int = (await connection.execute(select(func.count()).select_from(decisions))).scalar_one()
        return count


async def test_a_decision_is_read_before_and_after_it_is_written(registry: Registry) -> None:
    log = DecisionLog(registry.engine, retention=100)
    log.record(DECISION)
    assert await log.get("req-1") == DECISION
    await log.flush()
    assert await DecisionLog(registry.engine, retention=100).get("req-1") == DECISION
    assert await log.get("req-2") is None


async def test_the_task_writes_and_close_writes_the_rest(registry: Registry) -> None:
    log = DecisionLog(registry.engine, retention=100, interval=0.01)
    log.start()
    log.record(numbered(1))
    async with asyncio.timeout(10):
        while not await rows(registry):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    log.record(numbered(2))
    await log.close()
    assert await rows(registry) == 2


async def test_what_is_being_written_when_it_closes_is_written_once(registry: Registry) -> None:
    committed, go_on = asyncio.Event(), asyncio.Event()

    class Slow:
        """An engine that takes its time to say that it has committed."""

        @contextlib.asynccontextmanager
        async def begin(self) -> AsyncIterator[AsyncConnection]:
            async with registry.engine.begin() as connection:
                yield connection
            committed.set()
            await go_on.wait()

    log = DecisionLog(cast("AsyncEngine", Slow()), retention=100, interval=0.01)
    log.start()
    log.record(numbered(1))
    await asyncio.wait_for(committed.wait(), 10)
    closing = asyncio.create_task(log.close())
    await asyncio.sleep(0.05)
    go_on.set()
    await closing
    assert await rows(registry) == 1


async def test_retention_is_by_count(registry: Registry) -> None:
    log = DecisionLog(registry.engine, retention=10, recent=3)
    for number in range(1_200):
        log.record(numbered(number))
    await log.flush()
    assert await rows(registry) == 10
    assert await log.get("req-1199") is not None
    assert await log.get("req-1191") is not None
    assert await log.get("req-1") is None


async def test_no_retention_keeps_nothing(registry: Registry) -> None:
    log = DecisionLog(registry.engine, retention=0)
    log.record(DECISION)
    await log.flush()
    assert await log.get("req-1") is None
    assert await rows(registry) == 0


async def test_a_full_queue_drops_and_counts(registry: Registry) -> None:
    log = DecisionLog(registry.engine, retention=100, queue_limit=5)
    for number in range(8):
        log.record(numbered(number))
    assert log.dropped == 3
    assert await log.get("req-7") is not None
    await log.flush()
    assert await rows(registry) == 5


async def test_what_the_database_refuses_is_written_later(registry: Registry) -> None:
    log = DecisionLog(registry.engine, retention=100, interval=0.01)
    async with registry.engine.begin() as connection:
        await connection.run_sync(decisions.drop)
    log.start()
    log.record(DECISION)
    await asyncio.sleep(0.05)
    async with registry.engine.begin() as connection:
        await connection.run_sync(decisions.create)
    async with asyncio.timeout(10):
        while not await rows(registry):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await log.close()
    assert await rows(registry) == 1
