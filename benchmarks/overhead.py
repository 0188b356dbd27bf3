"""What the gateway adds to a request, against an upstream that answers at once and, if given, a real vLLM.

Everything is measured in one run, in interleaved rounds: each round visits every way to the upstream
(direct, through the gateway, through peers that are installed) in a new order, so that a slow moment
of the machine falls on all of them alike. Differences are taken within a round; the intervals are
95 % bootstrap intervals of their mean over rounds.

Examples:

    python benchmarks/overhead.py
        the gateway without an encoder, before an instant mock upstream

    python benchmarks/overhead.py --upstream http://127.0.0.1:8081 --gateway http://127.0.0.1:8080 --key KEY
        also a running vLLM, direct and through the running gateway before it (encoder and all)

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
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import numpy as np
import orjson
import uvloop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
MODEL = "fake-model"
KEY = "benchmark-key"
START_TIMEOUT = 180.0
QUESTIONS = (
    "What is the boiling point of water at sea level?",
    "Write a haiku about autumn rain.",
    "How do I reverse a list in Python?",
    "Explain how a bicycle stays upright.",
    "Give me three ideas for a quick dinner with lentils.",
    "What does the word serendipity mean?",
    "Summarise the causes of the French Revolution in two sentences.",
    "How many minutes are there in a week?",
)


@dataclass(frozen=True)
class Target:
    """A way to an upstream."""

    name: str
    url: str
    model: str
    path: str = "/v1/chat/completions"
    key: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    def request(self, number: int, *, stream: bool) -> bytes:
        """The bytes of one HTTP request."""
        content = f"{QUESTIONS[number % len(QUESTIONS)]} ({number})"
        body = {"model": self.model, "messages": [{"role": "user", "content": content}], "max_tokens": 1, **self.extra}
        if stream:
            body |= {"stream": True}
        payload = orjson.dumps(body)
        parts = urlsplit(self.url)
        head = [
            f"POST {parts.path}{self.path} HTTP/1.1",
            f"host: {parts.netloc}",
            "content-type: application/json",
            f"content-length: {len(payload)}",
        ]
        if self.key:
            head.append(f"authorization: Bearer {self.key}")
        return "\r\n".join([*head, "", ""]).encode() + payload


@dataclass
class Round:
    """One visit to one target: latencies in milliseconds, requests per second over all clients."""

    p50_ms: float
    p99_ms: float
    mean_ms: float
    per_second: float


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


class Client(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection that costs next to nothing itself."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._waiter: asyncio.Future[float] | None = None
        self._first = 0.0
        self._length: int | None = None
        self._body_at = -1
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(ConnectionError("the server closed the connection"))

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)

    async def ask(self, request: bytes) -> tuple[float, float]:
        """Send a request; seconds to the first byte of the answer's body, and to its end."""
        assert self.transport is not None
        self._buffer.clear()
        self._body_at, self._first = -1, 0.0
        self._waiter = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        self.transport.write(request)
        ended = await self._waiter
        return self._first - began, ended - began

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._body_at < 0:
            if (end := self._buffer.find(b"\r\n\r\n")) < 0:
                return
            head = bytes(self._buffer[:end]).lower()
            self._body_at = end + 4
            if b" 200 " not in head.split(b"\r\n", 1)[0]:
                self._fail(RuntimeError(f"unexpected answer: {bytes(self._buffer[:400])!r}"))
                return
            _, found, rest = head.partition(b"content-length: ")
            self._length = int(rest.split(b"\r\n", 1)[0]) if found else None
        if not self._first and len(self._buffer) > self._body_at:
            self._first = time.perf_counter()
        if self._length is None:
            done = self._buffer.endswith(b"0\r\n\r\n")
        else:
            done = len(self._buffer) - self._body_at >= self._length
        if done and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(time.perf_counter())


async def visit(target: Target, clients: int, requests: int, *, first_byte: bool, salt: int) -> Round:
    """Send ``requests`` through ``clients`` connections, each as soon as its last is answered."""
    loop = asyncio.get_running_loop()
    address = urlsplit(target.url)

    async def connect() -> Client:
        _, client = await loop.create_connection(Client, address.hostname or "", address.port or 80)
        return client

    connections = [await connect() for _ in range(clients)]
    numbers = iter(range(salt, salt + requests + clients))
    taken: list[float] = []

    async def go(slot: int, *, count: bool) -> None:
        for number in numbers:
            client = connections[slot]
            if client.transport is None or client.transport.is_closing():  # a slow server dropped it while idle
                client = connections[slot] = await connect()
            first, whole = await client.ask(target.request(number, stream=first_byte))
            taken.append(first if first_byte else whole)
            if not count:
                return

    await asyncio.gather(*(go(slot, count=False) for slot in range(clients)))  # warms each connection
    taken.clear()
    began = time.perf_counter()
    await asyncio.gather(*(go(slot, count=True) for slot in range(clients)))
    elapsed = time.perf_counter() - began
    for client in connections:
        if client.transport is not None:
            client.transport.close()
    p50, p99 = np.percentile(taken, [50, 99]) * 1e3
    return Round(float(p50), float(p99), float(np.mean(taken)) * 1e3, len(taken) / elapsed)


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
                share = requests // 10 if target.name in SLOW else requests
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


# Peers answer so much slower that a tenth of the requests gives the same precision.
SLOW = frozenset({"LiteLLM", "NeMo Guardrails"})


def free_port() -> int:
    """A port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def program(arguments: Sequence[str], port: int, **environment: str) -> AsyncIterator[str]:
    """Run a server until it is not needed any more; gives its URL once its port answers."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: ASYNC220 - before anything is measured
            arguments,
            cwd=ROOT,
            env=os.environ | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            limit = time.monotonic() + START_TIMEOUT
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                if process.poll() is not None or time.monotonic() > limit:
                    output.seek(0)
                    tail = output.read()[-2_000:].decode(errors="replace")
                    raise RuntimeError(f"{arguments[0]} did not start:\n{tail}")
                await asyncio.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            # The whole session: some servers leave workers behind.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


async def peers(stack: contextlib.AsyncExitStack, upstream: str, options: argparse.Namespace) -> list[Target]:
    """Other gateways before the same upstream, where their executables are installed."""
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    found = []
    for name, executable, prepare in (
        ("LiteLLM", shutil.which(options.litellm), litellm),
        ("NeMo Guardrails", shutil.which(options.nemo), nemo),
    ):
        if executable is None:
            print(f"{name:24} not installed")
            continue
        port = free_port()
        arguments, environment, extra = prepare(directory, upstream, port)
        key = environment.get("LITELLM_MASTER_KEY", "")
        try:
            url = await stack.enter_async_context(program([executable, *arguments], port, **environment))
        except RuntimeError as error:
            print(f"{name:24} left out: {error}")
        else:
            found.append(Target(name, url, MODEL, key=key, extra=extra))
    return await usable(found)


Prepared = tuple[list[str], dict[str, str], dict[str, Any]]


def litellm(directory: Path, upstream: str, port: int) -> Prepared:
    """Arguments, environment and request fields of LiteLLM's proxy: one worker, no callbacks, no database."""
    config = directory / "litellm.yaml"
    served = {"model": f"openai/{MODEL}", "api_base": f"{upstream}/v1", "api_key": "none"}
    config.write_text(json.dumps({"model_list": [{"model_name": MODEL, "litellm_params": served}]}))
    environment = {"LITELLM_MASTER_KEY": f"sk-{secrets.token_hex(32)}", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    return ["--config", str(config), "--host", "127.0.0.1", "--port", str(port)], environment, {}


def nemo(directory: Path, upstream: str, port: int) -> Prepared:
    """The same of NeMo Guardrails' server, with no rail in its configuration."""
    config = directory / "nemo" / "config.yml"
    config.parent.mkdir()
    model = {"type": "main", "engine": "openai", "model": MODEL, "parameters": {"base_url": f"{upstream}/v1"}}
    config.write_text(json.dumps({"models": [model]}))
    fields = {"config_id": "nemo", "guardrails": {"config_id": "nemo"}}
    return ["server", "--config", str(config.parent), "--port", str(port)], {"OPENAI_API_KEY": "none"}, fields


async def usable(targets: Sequence[Target]) -> list[Target]:
    """Those that answer a request in time; what keeps the others from it is printed."""
    good = []
    for target in targets:
        error: Exception | None = None
        limit = time.monotonic() + START_TIMEOUT
        while time.monotonic() < limit:
            try:
                await asyncio.wait_for(visit(target, 1, 1, first_byte=False, salt=0), 60)
                good.append(target)
                error = None
                break
            except (RuntimeError, OSError, TimeoutError) as failure:
                error = failure
                await asyncio.sleep(2)
        if error is not None:
            print(f"{target.name:24} left out: {error}")
    return good


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """The whole measurement, as the JSON that is written."""
    clients = [int(one) for one in options.clients.split(",")]
    report: dict[str, Any] = {
        "command": " ".join([Path(sys.executable).name, *sys.argv]),
        "date": time.strftime("%Y-%m-%d"),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()},
        "rounds": options.rounds,
        "requests": options.requests,
    }
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
    if options.upstream:
        targets = [Target("vLLM, direct", options.upstream, options.model, key=options.key)]
        if options.gateway:
            targets.append(Target("vLLM, gateway", options.gateway, options.model, key=options.key))
        else:
            print("no --gateway given: only the bare vLLM is measured")
        print(f"\ntime to first token, vLLM at {options.upstream}, {options.rounds} rounds")
        results = await measure(targets, clients, options.rounds, options.vllm_requests, first_byte=True)
        report["vllm"] = [asdict(result) for result in results]
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", default="1,16,64", help="numbers of clients at once, comma-separated")
    parser.add_argument("--rounds", type=int, default=10, help="interleaved rounds (10 or more for the intervals)")
    parser.add_argument("--requests", type=int, default=1_000, help="requests in each round to the mock")
    parser.add_argument("--vllm-requests", type=int, default=64, help="requests in each round to the real vLLM")
    parser.add_argument("--upstream", help="base URL of a running vLLM, to measure it as well")
    parser.add_argument("--gateway", help="base URL of a running gateway before that vLLM")
    parser.add_argument("--key", default="", help="a key that both that gateway and the vLLM take")
    parser.add_argument("--model", default="smollm2", help="name of the model that the vLLM serves")
    parser.add_argument("--litellm", default="litellm", help="executable of LiteLLM's proxy")
    parser.add_argument("--nemo", default="nemoguardrails", help="executable of NeMo Guardrails")
    parser.add_argument("--out", type=Path, default=Path("overhead"), help="where to write, without an ending")
    options = parser.parse_args()
    report = uvloop.run(run(options))
    options.out.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    plot(report, options.out.with_suffix(".png"))
    print(f"\nwritten: {options.out.with_suffix('.json')} and {options.out.with_suffix('.png')}")


if __name__ == "__main__":
    main()
