r"""What the gateway adds to a request: before an upstream that answers at once or, if one is given, a real vLLM.

Everything is measured in one run, in interleaved rounds: each round visits every way to the upstream
(direct, through the gateway, through peers that are installed) in a new order, so that a slow moment
of the machine falls on all of them alike. Differences are taken within a round; the intervals are
95 % bootstrap intervals of their mean over rounds.

Examples:

    python benchmarks/overhead.py
        the gateway without an encoder, before an instant mock upstream

    python benchmarks/overhead.py --upstream http://127.0.0.1:8081 --gateway http://127.0.0.1:8080 --key KEY \
            --admin-key ADMIN
        a running vLLM, direct and through the running gateway before it, which forgets two subjects meanwhile, so
        that its encoder reads every prompt; and what that gateway says itself of the time that it added

    python benchmarks/overhead.py --clients 1 --rounds 20 --out /tmp/overhead
        one client only; writes /tmp/overhead.json and /tmp/overhead.png
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import random
import sys
import time
import urllib.request
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import numpy as np
import uvloop
from prometheus_client.parser import text_string_to_metric_families

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.commands import command
from benchmarks.peers import MODEL, free_port, peers, program
from benchmarks.sampling import SUBJECTS, Admin
from benchmarks.visits import Round, Target, visit
from server.telemetry import OVERHEAD, STAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

KEY = "benchmark-key"


@dataclass
class Comparison:
    """A target against the direct way, over all rounds; ``low`` and ``high`` bound 95 %."""

    target: str
    clients: int
    p50_ms: float
    p99_ms: float
    per_second: float
    added_p50_ms: float
    added_p50_low: float
    added_p50_high: float
    throughput_ratio: float
    throughput_low: float
    throughput_high: float


@dataclass
class Own:
    """What a gateway added to its requests by its own clock: their total less the upstream's, in milliseconds.

    Beside the differences that clients see, because vLLM's own spread may hide them. It holds no time that
    vLLM itself lost to the gateway's work on the same cores. Quantiles are interpolated within a bucket.
    """

    clients: int
    requests: int
    p50_ms: float
    p99_ms: float
    within_1_ms: float
    """Share of the requests."""
    stages_p50_ms: dict[str, float]
    """By stage. All of the detector's passes while the upstream is at work."""


@dataclass
class Look:
    """A look at a gateway's metrics: how many requests took at most so many seconds, cumulative."""

    added: Counter[float]
    stages: dict[str, Counter[float]]


def interval(values: Sequence[float], *, draws: int = 4_000) -> tuple[float, float, float]:
    """The mean, and its 95 % percentile-bootstrap interval (Efron 1979)."""
    sample = np.asarray(values)
    generator = np.random.default_rng(0)
    means = sample[generator.integers(0, len(sample), (draws, len(sample)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(sample.mean()), float(low), float(high)


def compare(name: str, clients: int, direct: Sequence[Round], through: Sequence[Round]) -> Comparison:
    """Pair the rounds of a target with those of the direct way."""
    added = interval([b.p50_ms - a.p50_ms for a, b in zip(direct, through, strict=True)])
    ratio = interval([b.per_second / a.per_second for a, b in zip(direct, through, strict=True)])
    return Comparison(
        target=name,
        clients=clients,
        p50_ms=float(np.median([one.p50_ms for one in through])),
        p99_ms=float(np.median([one.p99_ms for one in through])),
        per_second=float(np.median([one.per_second for one in through])),
        added_p50_ms=added[0],
        added_p50_low=added[1],
        added_p50_high=added[2],
        throughput_ratio=ratio[0],
        throughput_low=ratio[1],
        throughput_high=ratio[2],
    )


async def look(gateway: str, admin_key: str) -> Look:
    """A running gateway's figures, over all endpoints."""
    asked = urllib.request.Request(f"{gateway}/metrics", headers={"authorization": f"Bearer {admin_key}"})
    text = await asyncio.to_thread(lambda: urllib.request.urlopen(asked, timeout=10).read().decode())
    found = Look(Counter(), defaultdict(Counter))
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == f"{OVERHEAD}_bucket":
                found.added[float(sample.labels["le"])] += int(sample.value)
            elif sample.name == f"{STAGE}_bucket":
                found.stages[sample.labels["stage"]][float(sample.labels["le"])] += int(sample.value)
    return found


def own(clients: int, before: Look, after: Look) -> Own:
    """The gateway's own figures of the requests between two looks at its metrics.

    Raises:
        RuntimeError: its encoder has not read them all.
    """
    bounds, reached, (p50, p99) = _quantiles(before.added, after.added, 0.5, 0.99)
    stages = {}
    for stage, counts in after.stages.items():
        _, seen, (median,) = _quantiles(before.stages.get(stage, Counter()), counts, 0.5)
        if stage == "encode" and seen[-1] < reached[-1]:
            raise RuntimeError(f"the encoder has read {seen[-1]} of {reached[-1]} requests")
        if seen[-1] >= reached[-1]:
            stages[stage] = median
    within = reached[bounds.index(0.001)] / reached[-1]
    return Own(clients, int(reached[-1]), p50, p99, float(within), stages)


def _quantiles(
    before: Counter[float], after: Counter[float], *shares: float
) -> tuple[list[float], NDArray[np.int64], list[float]]:
    """Bounds in seconds, what they were reached by between two looks, and quantiles in milliseconds."""
    bounds = sorted(after)
    reached = np.array([after[bound] - before[bound] for bound in bounds])
    found = np.interp([share * reached[-1] for share in shares], [0, *reached], [0, *bounds]) * 1e3
    return bounds, reached, found.tolist()


async def measure(
    targets: Sequence[Target], clients: Sequence[int], rounds: int, requests: int, *, first_byte: bool
) -> list[Comparison]:
    """Every target against the first one, which is the direct way."""
    shuffle = random.Random(0)
    results = []
    for many in clients:
        seen: dict[str, list[Round]] = {target.name: [] for target in targets}
        for number in range(rounds):
            order = list(targets)
            shuffle.shuffle(order)
            for target in order:
                share = requests // 10 if target.slow else requests
                salt = (number + 1) * 1_000_000 * many
                seen[target.name].append(
                    await visit(target, many, max(share, 3 * many), first_byte=first_byte, salt=salt)
                )
        direct = seen[targets[0].name]
        results += [compare(target.name, many, direct, seen[target.name]) for target in targets]
        for result in results[-len(targets) :]:
            print(line(result), flush=True)
    return results


def line(result: Comparison) -> str:
    """One row of the printed table."""
    return (
        f"{result.target:24} {result.clients:3} clients  p50 {result.p50_ms:8.2f} ms  p99 {result.p99_ms:8.2f} ms  "
        f"{result.per_second:8.0f}/s  added p50 {result.added_p50_ms:+7.3f} ms "
        f"[{result.added_p50_low:+.3f}, {result.added_p50_high:+.3f}]  "
        f"throughput x{result.throughput_ratio:.3f} [{result.throughput_low:.3f}, {result.throughput_high:.3f}]"
    )


async def before_mock(options: argparse.Namespace, clients: Sequence[int], report: dict[str, Any]) -> None:
    """The gateway by itself, and peers, before an upstream that answers at once."""
    async with contextlib.AsyncExitStack() as stack:
        port = free_port()
        mock = [sys.executable, "-m", "tests.fakes.upstream", "--port", str(port), "--model", MODEL]
        upstream = await stack.enter_async_context(program(mock, port))
        port = free_port()
        gateway = [sys.executable, "-m", "benchmarks.null_gateway", "--port", str(port), "--upstream", upstream]
        through = await stack.enter_async_context(program(gateway, port, UNREMEMBER_BENCHMARK_KEY=KEY))
        targets = [Target("mock, direct", upstream, MODEL), Target("mock, gateway", through, MODEL, key=KEY)]
        targets += await peers(stack, upstream, options)
        print(f"\nwhole answers, instant mock upstream, {options.rounds} rounds")
        results = await measure(targets, clients, options.rounds, options.requests, first_byte=False)
        report["mock"] = [asdict(result) for result in results]


async def before_vllm(options: argparse.Namespace, clients: Sequence[int], report: dict[str, Any]) -> None:
    """A running vLLM, and the gateway before it."""
    targets = [Target("vLLM, direct", options.upstream, options.model, key=options.key)]
    if options.gateway:
        targets.append(Target("vLLM, gateway", options.gateway, options.model, key=options.key))
    else:
        print("no --gateway given: only the bare vLLM is measured")
    print(f"\ntime to first token, vLLM at {options.upstream}, {options.rounds} rounds")
    report["vllm"], report["vllm_own"] = [], []
    async with contextlib.AsyncExitStack() as stack:
        if options.admin_key:
            # With nothing to forget a gateway need not read a prompt.
            session = await stack.enter_async_context(aiohttp.ClientSession())
            await stack.enter_async_context(Admin(session, options.gateway, options.admin_key).forgotten(SUBJECTS))
        for many in clients:
            before = await look(options.gateway, options.admin_key) if options.admin_key else None
            results = await measure(targets, [many], options.rounds, options.vllm_requests, first_byte=True)
            report["vllm"] += [asdict(result) for result in results]
            if before is not None:
                added = own(many, before, await look(options.gateway, options.admin_key))
                report["vllm_own"].append(asdict(added))
                print(
                    f"{'by its own clock':24} {many:3} clients  added p50 {added.p50_ms:.2f} ms  "
                    f"p99 {added.p99_ms:.2f} ms  within 1 ms {added.within_1_ms:.1%} of {added.requests}  "
                    + ", ".join(f"{stage} {median:.2f} ms" for stage, median in added.stages_p50_ms.items())
                )


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """The whole measurement, as the JSON that is written."""
    clients = [int(one) for one in options.clients.split(",")]
    report: dict[str, Any] = {
        "command": command(),
        "date": time.strftime("%Y-%m-%d"),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()},
        "rounds": options.rounds,
        "requests": options.vllm_requests if options.upstream else options.requests,
    }
    if options.upstream:
        await before_vllm(options, clients, report)
    else:
        await before_mock(options, clients, report)
    return report


def plot(report: dict[str, Any], path: Path) -> None:
    """Added milliseconds by number of clients, with intervals."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    sections = [name for name in ("mock", "vllm") if name in report]
    figure, axes = plt.subplots(1, len(sections), figsize=(6 * len(sections), 4), squeeze=False)
    for axis, section in zip(axes[0], sections, strict=True):
        rows = [row for row in report[section] if not row["target"].endswith("direct")]
        for target in dict.fromkeys(row["target"] for row in rows):
            mine = [row for row in rows if row["target"] == target]
            added = np.array([row["added_p50_ms"] for row in mine])
            spread = [added - [row["added_p50_low"] for row in mine], [row["added_p50_high"] for row in mine] - added]
            axis.errorbar([row["clients"] for row in mine], added, yerr=spread, marker="o", capsize=3, label=target)
        axis.set(xscale="log", yscale="symlog", xlabel="clients", ylabel="added at the median, ms")
        axis.set_title("instant upstream" if section == "mock" else "vLLM, time to first token")
        axis.grid(visible=True, alpha=0.3)
        axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--clients", default="1,16,64", help="numbers of clients at once, comma-separated")
    parser.add_argument("--rounds", type=int, default=10, help="interleaved rounds (10 or more for the intervals)")
    parser.add_argument("--requests", type=int, default=1_000, help="requests in each round to the mock")
    parser.add_argument("--vllm-requests", type=int, default=64, help="requests in each round to the real vLLM")
    parser.add_argument("--upstream", help="base URL of a running vLLM, to measure instead of the mock")
    parser.add_argument("--gateway", help="base URL of a running gateway before that vLLM")
    parser.add_argument("--key", default="", help="a key that both that gateway and the vLLM take")
    parser.add_argument("--admin-key", default="", help="that gateway's, to read what it added by its own clock")
    parser.add_argument("--model", default="smollm2", help="name of the model that the vLLM serves")
    parser.add_argument("--litellm", default="litellm", help="executable of LiteLLM's proxy")
    parser.add_argument("--nemo", default="nemoguardrails", help="executable of NeMo Guardrails")
    parser.add_argument("--out", type=Path, default=Path("overhead"), help="where to write, without an ending")
    options = parser.parse_args()
    if options.admin_key and not options.gateway:
        parser.error("--admin-key is for the metrics of a --gateway")
    report = uvloop.run(run(options))
    options.out.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    plot(report, options.out.with_suffix(".png"))
    print(f"\nwritten: {options.out.with_suffix('.json')} and {options.out.with_suffix('.png')}")


if __name__ == "__main__":
    main()
