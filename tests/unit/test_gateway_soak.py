"""Clients that leave at any moment: nothing of them stays. At full size in ``benchmarks/soak.py``."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.fakes.gateway import wired
from tests.fakes.traffic import CaseDetector, Model, Traffic, forget
from tests.fakes.upstream import FakeUpstream

if TYPE_CHECKING:
    from server.settings import Settings

pytestmark = pytest.mark.thorough
STREAMS = 300
CLIENTS = 24


async def test_nothing_is_left_of_clients_that_leave(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.upstream.client._KEEP_ALIVE", 0.05)
    settings = settings.model_copy(update={"upstream_probe_interval": 3_600.0})
    rng = random.Random(3)
    async with (
        FakeUpstream(record=False) as upstream,
        wired(upstream.url, settings, detector=CaseDetector(rng)) as running,
    ):
        Model(upstream, rng)
        await forget(running)
        await until(lambda: upstream.open == 0)
        tasks, descriptors = len(asyncio.all_tasks()), psutil.Process().num_fds()
        traffic = Traffic(running.url)
        await traffic.run(range(STREAMS), [random.Random(number) for number in range(CLIENTS)])

        assert traffic.wrong == []
        await until(lambda: running.gateway.in_flight == 0)
        await until(lambda: all(each.in_flight == 0 for each in running.pool.upstreams))
        await until(lambda: upstream.open == 0)
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        await until(lambda: psutil.Process().num_fds() <= descriptors)

        outcomes = {decision.outcome for decision in running.decisions}
        assert {"passed", "rolled_back", "intervened", "disconnected"} <= outcomes
        assert {"left in a hold", "left in a continuation", "left in its answer", "left before the answer"} <= {
            *traffic.seen
        }


async def until(check: object) -> None:
    """Wait for something that must come about."""
    assert callable(check)
    for _ in range(1_000):
        if check():
            return
        await asyncio.sleep(0.01)
    assert check(), sorted(str(task.get_coro()) for task in asyncio.all_tasks())
