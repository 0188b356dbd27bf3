"""The gateway with something forgotten, for ``benchmarks/soak.py``: a process that tells what it holds on to.

It prints its URL. For each line that comes on its standard input it then prints a line of JSON: ``read`` asks for
what it holds now, ``trace`` has it note where memory is taken from now on, ``traced`` asks where that was.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import sys
import tracemalloc
from collections import Counter
from typing import TYPE_CHECKING, Any

import psutil
import uvloop

from server.settings import Settings
from tests.fakes.gateway import wired
from tests.fakes.traffic import CaseDetector, forget

if TYPE_CHECKING:
    from tests.fakes.gateway import Wired

KEEP_ALIVE = 1
"""Seconds. uvicorn's timers hold on to a connection that is gone for so long."""
MOST = 10
"""Places in the code that are told of a trace."""


class Held:
    """What a process holds on to."""

    def __init__(self, running: Wired) -> None:
        self._running = running
        self._process = psutil.Process()
        self._outcomes: Counter[str] = Counter()
        self._before: tracemalloc.Snapshot | None = None

    def read(self) -> dict[str, Any]:
        """Now, after a collection of garbage."""
        running = self._running
        # The test's record of decisions, which the real one keeps in a database.
        self._outcomes.update(decision.outcome for decision in running.decisions)
        running.decisions.clear()
        gc.collect()
        return {
            "tasks": len(asyncio.all_tasks()),
            "descriptors": self._process.num_fds(),
            "in_flight": running.gateway.in_flight + sum(each.in_flight for each in running.pool.upstreams),
            "gauge": running.telemetry.registry.get_sample_value("unremember_requests_in_flight"),
            "objects": len(gc.get_objects()),
            "rss_mb": self._process.memory_info().rss / 2**20,
            "outcomes": dict(self._outcomes),
        }

    def trace(self) -> dict[str, Any]:
        """Begin to note where memory is taken."""
        gc.collect()
        tracemalloc.start()
        self._before = tracemalloc.take_snapshot()
        return {}

    def traced(self) -> dict[str, Any]:
        """The places that hold most more than when the trace began."""
        assert self._before is not None
        self._running.decisions.clear()
        gc.collect()
        grown = tracemalloc.take_snapshot().compare_to(self._before, "lineno")
        tracemalloc.stop()
        return {
            "grown": [{"place": str(one.traceback), "bytes": one.size_diff, "blocks": one.count_diff} for one in grown][
                :MOST
            ]
        }


async def serve(upstream: str, seed: int) -> None:
    """Serve and answer questions until the input ends."""
    # Seldom enough that the connection of a health check is not always open when it is asked what is.
    settings = Settings(upstream_probe_interval=30)
    detector = CaseDetector(random.Random(seed))
    async with wired(upstream, settings, detector=detector, keep_alive=KEEP_ALIVE) as running:
        await forget(running)
        held = Held(running)
        print(running.url, flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(getattr(held, line.strip())()), flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream", required=True, help="base URL of the upstream")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    uvloop.run(serve(options.upstream, options.seed))


if __name__ == "__main__":
    main()
