"""What thousands of clients leave behind that disconnect when they please: tasks, connections, memory.

The gateway runs as a process of its own, with phrases in force, before a model that meets them: answers are passed,
rolled back and continued, buffered whole, restricted, declined and corrupted, over every endpoint. Its clients stay to
the end, or leave in their own request, before the answer, in it, in a hold, or in a continuation; the upstream breaks
off now and then. Before the first stream and after every thousand, once all is quiet, it is asked what it still holds.

Tasks, descriptors (every connection is one) and requests in flight must be back where they were each time; the number
of Python objects must not grow with the streams. Where the process grows all the same, more streams are run under
tracemalloc, and the report says where the memory was taken.

Examples:

    python benchmarks/soak.py
        ten thousand streams: a few minutes

    python benchmarks/soak.py --streams 2000 --every 200 --clients 64 --out figures/soak
        fewer, read more often, more of them at once
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import uvloop
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.soak_gateway import KEEP_ALIVE
from tests.fakes.traffic import Model, Traffic
from tests.fakes.upstream import FakeUpstream

ROOT = Path(__file__).resolve().parent.parent

# Idle connections to an upstream are closed after four seconds.
QUIET = 20.0
WHERE = ("tasks", "descriptors", "in_flight")
OBJECTS_A_STREAM = 0.05
"""Less than one in twenty streams leaving one object behind: caches that fill, not a leak."""
GROWN_MB = 5.0


class Gateway:
    """The gateway's process, and what it answers."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self._process = process
        self.url = url

    async def ask(self, question: str) -> dict[str, Any]:
        """One answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{question}\n".encode())
        answer: dict[str, Any] = json.loads(await self._process.stdout.readline())
        return answer

    async def quiet(self, base: dict[str, Any] | None = None) -> dict[str, Any]:
        """What it holds once it has no more than ``base``, or the least that it has for a while."""
        await asyncio.sleep(2 * KEEP_ALIVE)
        least = await self.ask("read")
        end = time.monotonic() + QUIET
        while time.monotonic() < end and not (base and all(least[name] <= base[name] for name in WHERE)):
            await asyncio.sleep(0.25)
            now = await self.ask("read")
            if [now[name] for name in WHERE] <= [least[name] for name in WHERE]:
                least = now
        return least


@asynccontextmanager
async def gateway(upstream: str, seed: int) -> AsyncIterator[Gateway]:
    """The gateway before an upstream, in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "benchmarks.soak_gateway", "--upstream", upstream, "--seed", str(seed)],
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        # uvicorn says of each answer that the upstream broke off that it is not complete.
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        yield Gateway(process, (await process.stdout.readline()).decode().strip())
    finally:
        process.terminate()
        await process.wait()


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """All streams. Returns the report."""
    rng = random.Random(options.seed)
    async with FakeUpstream(record=False) as upstream, gateway(upstream.url, options.seed) as running:
        Model(upstream, rng)
        traffic = Traffic(running.url)
        clients = [random.Random(f"{options.seed}/{number}") for number in range(options.clients)]
        mine = psutil.Process()

        async def reading(streams: int, base: dict[str, Any] | None = None) -> dict[str, Any]:
            held = await running.quiet(base)
            return held | {
                "streams": streams,
                "upstream_connections": upstream.open,
                "client_tasks": len(asyncio.all_tasks()),
                "client_descriptors": mine.num_fds(),
                "load": os.getloadavg()[0],
            }

        base = await reading(0)
        readings = [base]
        began = time.perf_counter()
        bar = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        with Progress(*bar) as progress:
            task = progress.add_task("streams", total=options.streams)
            for first in range(0, options.streams, options.every):
                numbers = range(first, min(first + options.every, options.streams))
                await traffic.run(numbers, clients, _counting(progress, task))
                readings.append(await reading(numbers.stop, base))
        took = time.perf_counter() - began
        grown: list[dict[str, Any]] = []
        if readings[-1]["rss_mb"] - readings[len(readings) // 2]["rss_mb"] > GROWN_MB:
            await running.ask("trace")
            await traffic.run(range(options.streams, options.streams + options.every), clients)
            await running.quiet(base)
            grown = (await running.ask("traced"))["grown"]
    left, verdict = judge(readings, traffic.wrong)
    return {
        "command": " ".join(["python", "benchmarks/soak.py", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()},
        "clients": options.clients,
        "seconds": took,
        "verdict": verdict,
        "left": left,
        "readings": readings,
        "visits": dict(traffic.seen),
        "asked": dict(sorted(traffic.asked.items())),
        "wrong": traffic.wrong,
        "grown": grown,
    }


def _counting(progress: Progress, task: Any) -> Callable[[], None]:
    return lambda: progress.advance(task)


def judge(readings: list[dict[str, Any]], wrong: list[str]) -> tuple[dict[str, float], str]:
    """What is left over, and in words whether that is nothing."""
    # The first thousand fill caches and load what is loaded on first use.
    base, warm, half, last = readings[0], readings[1], readings[len(readings) // 2], readings[-1]
    left: dict[str, float] = {name: max(each[name] for each in readings[1:]) - base[name] for name in WHERE}
    left["gauge"] = max(each["gauge"] for each in readings)
    left["client_tasks"] = last["client_tasks"] - base["client_tasks"]
    left["objects_a_stream"] = (last["objects"] - warm["objects"]) / max(last["streams"] - warm["streams"], 1)
    left["rss_mb_second_half"] = last["rss_mb"] - half["rss_mb"]
    found = [f"{left[name]:g} {name.replace('_', ' ')} left over" for name in (*WHERE, "gauge") if left[name] > 0]
    if left["objects_a_stream"] > OBJECTS_A_STREAM:
        found.append(f"{left['objects_a_stream']:.2f} objects more with each stream")
    if left["rss_mb_second_half"] > GROWN_MB:
        found.append(f"{left['rss_mb_second_half']:.1f} MB more in the second half")
    if wrong:
        found.append(f"{len(wrong)} complete answers were wrong")
    return left, "; ".join(found) or "nothing is left over"


def plot(report: dict[str, Any], path: Path) -> None:
    """What was held, over the streams."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    readings = report["readings"]
    streams = [each["streams"] for each in readings]
    shown = {
        "open or running": ("tasks", "descriptors", "in_flight", "upstream_connections"),
        "Python objects": ("objects",),
        "resident memory, MB": ("rss_mb",),
    }
    figure, axes = plt.subplots(1, len(shown), figsize=(12, 3.5), layout="constrained")
    for axis, (title, names) in zip(axes, shown.items(), strict=True):
        for name in names:
            axis.plot(streams, [each[name] for each in readings], "o-", markersize=4, label=name.replace("_", " "))
        axis.set_title(title)
        axis.set_xlabel("streams")
        axis.set_ylim(0, 1.2 * max(each[name] for each in readings for name in names))
        axis.legend()
    figure.suptitle(report["verdict"])
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=10_000, help="clients that come (default 10000)")
    parser.add_argument("--every", type=int, default=1_000, help="streams between readings (default 1000)")
    parser.add_argument("--clients", type=int, default=24, help="of them at once (default 24)")
    parser.add_argument("--seed", type=int, default=0, help="of what is asked and when a client leaves")
    parser.add_argument("--out", type=Path, default=Path("soak"), help="where to write, without an ending")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    report = uvloop.run(run(options))
    options.out.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    plot(report, options.out.with_suffix(".png"))
    print(f"{report['readings'][-1]['streams']} streams in {report['seconds']:.0f} s: {report['verdict']}")


if __name__ == "__main__":
    main()
