"""How fast the detector is: a verdict's time by stage, against the number of scopes, and a search in many vectors.

Nothing but the encoder and its calibration is needed, both made as the gateway makes them. Measured are

    stages      a prompt of 30 tokens; 8,000 tokens in ten passages, cold and seen before; a request of 100 examples,
                from its text until it is enforced
    scopes      a verdict on 30 tokens beside 10 to 100,000 scopes: names, texts and vectors of each are made up. Its
                time without the encoder's must stay flat
    search      the nearest scopes of a vector among all vectors of the most scopes: time, recall@10 and cosines against
                a search through every vector, and memory

Vectors are mixtures of the encoder's vectors of ordinary prompts, two each, with noise of their covariance; those of a
scope share one of the two. Times are of the wall clock, in milliseconds, and beside them the processor's, which other
work on the machine disturbs less; its load is in the report.

Examples:

    python benchmarks/detector.py
        100,000 scopes with a million vectors: about ten minutes on two cores; writes detector.json and detector.png

    python benchmarks/detector.py --scopes 10 1000 --prompts 50 --out /tmp/detector
        a quick look
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import random
import sys
import time
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import psutil
from wordfreq import top_n_list

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from guards.compile import compile_scope
from guards.detect.batching import EncoderQueue
from guards.detect.detector import Detector
from guards.plan import Role, Segment
from guards.scope import Alias, Example, Extent, Items, Kind, Mode, Scope, Source, default_policy
from server.loading import load_calibration, load_encoder
from server.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from guards.detect.calibration import Calibration
    from guards.detect.encoder import Encoder

TARGETS: Final = {
    "prompt_30": {"p50": 8.0, "p99": 25.0},
    "passages_cold": {"p50": 150.0},
    "passages_seen": {"p50": 20.0},
    "learning_100": {"p50": 5_000.0},
    "search": {"p99": 5.0, "recall_at_10": 0.99, "gibibytes": 1.0},
}
ITEMS_EACH: Final = 10
NEAREST: Final = 10
NOISE: Final = 0.3


class Vectors:
    """Makes vectors that lie as those of ordinary prompts do: float32 [n, dimension], unit rows."""

    def __init__(self, real: NDArray[np.float32], seed: int) -> None:
        self._real = real
        self._draw = np.random.default_rng(seed)
        _, scales, self._axes = np.linalg.svd(real - real.mean(axis=0), full_matrices=False)
        self._scales = NOISE * scales / np.sqrt(len(real))

    def make(self, count: int, *, about: int | None = None) -> NDArray[np.float32]:
        """``count`` of them, near one real vector if ``about`` is its row, else anywhere."""
        draw = self._draw
        one = draw.integers(len(self._real), size=count) if about is None else np.full(count, about)
        share = draw.uniform(0.5, 1.0, size=(count, 1))
        mixed = share * self._real[one] + (1.0 - share) * self._real[draw.integers(len(self._real), size=count)]
        rows = mixed + (draw.standard_normal((count, len(self._scales))) * self._scales) @ self._axes
        unit: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        return unit


def made_up_scopes(count: int, like: Scope, vectors: Vectors, real: int, rng: random.Random) -> list[Scope]:
    """Scopes with a name and `ITEMS_EACH` texts each, with the thresholds and the encoder of ``like``."""
    words = [word for word in top_n_list("en", 60_000) if word.isalpha()]
    common, rare = words[:5_000], words[20_000:]
    made = []
    for number in range(count):
        name = " ".join(word.title() for word in rng.choices(rare, k=3))
        texts = tuple(f"{' '.join(rng.choices(common, k=9))} {name}?".capitalize() for _ in range(ITEMS_EACH))
        made.append(
            Scope(
                request_id=f"fr_{number}",
                version=1,
                subject=name,
                kind=Kind.PERSON,
                extent=Extent.KNOWLEDGE,
                mode=Mode.ENFORCE,
                policy=like.policy,
                aliases=(Alias(name, 1e-9),),
                forget=Items(texts, vectors.make(ITEMS_EACH, about=rng.randrange(real)).astype(np.float16)),
                retain=Items((), np.empty((0, like.forget.vectors.shape[1]), dtype=np.float16)),
                high=like.high,
                low=like.low,
                encoder=like.encoder,
            )
        )
    return made


def asks(*texts: str) -> list[Segment]:
    """Segments that ask."""
    return [Segment(("messages", place, "content"), text, Role.ASKS) for place, text in enumerate(texts)]


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Of times in seconds, in milliseconds."""
    p50, p99 = np.quantile(seconds, [0.5, 0.99])
    return {"p50": 1e3 * float(p50), "p99": 1e3 * float(p99), "mean": 1e3 * float(np.mean(seconds)), "n": len(seconds)}


class Measurement:
    """A detector with its encoder, and what is asked of it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.rng = random.Random(options.seed)
        settings = load_settings()
        self.encoder: Encoder = load_encoder(settings)
        self.calibration: Calibration = load_calibration(settings, self.encoder, lambda _: None)
        self.queue = EncoderQueue(
            self.encoder, max_tokens=settings.encoder_queue_tokens, batch_tokens=settings.encoder_batch_tokens
        )
        self.queue.start()
        self.stages: defaultdict[str, list[float]] = defaultdict(list)
        self.detector = Detector(
            self.queue, self.calibration, observe=lambda stage, spent: self.stages[stage].append(spent)
        )
        self.vectors = Vectors(self.calibration.background.vectors, options.seed)
        background = self.calibration.background.prompts
        counts = self.encoder.token_counts(background)
        sized = list(zip(background, counts, strict=True))
        # What is learned has nothing in common with what is asked.
        self.learned = [text for text, count in sized[::2] if 12 <= count <= 30]
        self.short = [text for text, count in sized[1::2] if 20 <= count <= 30]
        self.pieces = [text for text, count in sized[1::2] if 12 <= count <= 30 and "?" not in text]
        self._number = 0

    def prompt(self) -> str:
        """An ordinary prompt of about 30 tokens, never asked before."""
        self._number += 1
        return f"{self.rng.choice(self.short)} {self._number}"

    def passage(self, tokens: int) -> str:
        """A text of so many tokens, never read before."""
        text = ""
        while sum(self.encoder.token_counts(text.split(". "))) < tokens:
            self._number += 1
            text += f"{' '.join(self.rng.sample(self.pieces, 5))} {self._number}. "
        return text

    async def verdicts(self, requests: Sequence[list[Segment]]) -> dict[str, Any]:
        """Time to verdict, and each stage's."""
        self.stages.clear()
        taken, processor = [], []
        for segments in requests:
            started, worked = time.perf_counter(), time.process_time()
            await self.detector.detect(segments)
            taken.append(time.perf_counter() - started)
            processor.append(time.process_time() - worked)
        rest = np.array(taken) - np.array(self.stages["encode"])
        return {
            **spread(taken),
            "processor": spread(processor),
            "without_encoder": spread(rest.tolist()),
            "stages": {stage: spread(spent) for stage, spent in self.stages.items()},
        }

    async def learn(self, examples: int, request_id: str) -> tuple[float, Scope]:
        """Seconds from a request's text until it is enforced, and its scope. No text of it was seen before."""
        name = f"Quorvane Albtrees {request_id}"
        source = Source(
            subject=name,
            kind=Kind.PERSON,
            examples=tuple(
                Example(f"{text} ({name})", f"{self.rng.choice(self.learned)} {number}")
                for number, text in enumerate(self.rng.sample(self.learned, examples))
            ),
        )
        settings = load_settings()
        started = time.perf_counter()
        scope = await compile_scope(
            source,
            request_id=request_id,
            version=1,
            mode=Mode.ENFORCE,
            policy=default_policy(source.kind, source.extent),
            encode=self.queue.encode,
            calibration=self.calibration,
            encoder=self.calibration.encoder,
            alpha_high=settings.false_positive_rate,
            alpha_low=settings.low_false_positive_rate,
            confidence=settings.calibration_confidence,
        )
        self.detector.apply(scope)
        return time.perf_counter() - started, scope


async def measure_stages(made: Measurement) -> tuple[dict[str, Any], Scope]:
    """The stages beside ten learned requests; and one of their scopes."""
    options = made.options
    learned = [await made.learn(100, f"learned{number}") for number in range(options.rounds)]
    short = await made.verdicts([asks(made.prompt()) for _ in range(options.prompts)])
    texts = [[made.passage(800) for _ in range(10)] for _ in range(options.rounds)]
    cold = await made.verdicts([asks(*passages) for passages in texts])
    seen = await made.verdicts([asks(*passages, made.prompt()) for passages in texts])
    stages = {
        "prompt_30": short,
        "passages_cold": cold,
        "passages_seen": seen,
        "learning_100": spread([seconds for seconds, _ in learned]),
    }
    return stages, learned[0][1]


async def measure_scopes(
    made: Measurement, like: Scope, say: Callable[[str], None]
) -> tuple[list[dict[str, Any]], int]:
    """Verdicts at each number of scopes; and the memory that all of them take, in bytes."""
    options = made.options
    for scope in made.detector.scopes():
        made.detector.remove(scope.request_id)
    gc.collect()
    before = psutil.Process().memory_info().rss
    scopes = made_up_scopes(max(options.scopes), like, made.vectors, len(made.calibration.background.vectors), made.rng)
    applied, rows = 0, []
    for size in options.scopes:
        started = time.perf_counter()
        for scope in scopes[applied:size]:
            made.detector.apply(scope)
        spent = time.perf_counter() - started
        await asyncio.to_thread(made.detector.index.settle)
        built = time.perf_counter() - started
        await made.verdicts([asks(made.prompt()) for _ in range(10)])
        row = {
            "scopes": size,
            "vectors": made.detector.index_vectors,
            "apply_ms_each": 1e3 * spent / max(1, size - applied),
            "settled_s": built,
            **await made.verdicts([asks(made.prompt()) for _ in range(options.prompts)]),
        }
        applied = size
        rows.append(row)
        say(f"{size:7} scopes: verdict {row['p50']:.1f} ms, without the encoder {row['without_encoder']['p50']:.2f} ms")
    del scopes
    gc.collect()
    return rows, psutil.Process().memory_info().rss - before


def measure_search(made: Measurement) -> dict[str, Any]:
    """The index's own time, recall@10 of scopes and cosines, for vectors that it does not hold."""
    index = made.detector.index
    queries = made.vectors.make(made.options.queries)
    index.search(queries[:1], NEAREST)
    taken, processor = [], []
    told: list[dict[str, float]] = []
    for row in range(len(queries)):
        started, worked = time.perf_counter(), time.thread_time()
        told += index.search(queries[row : row + 1], 16)
        taken.append(time.perf_counter() - started)
        processor.append(time.thread_time() - worked)
    found = [list(each)[:NEAREST] for each in told]
    best: list[list[tuple[float, str]]] = [[] for _ in queries]
    shortfalls: list[float] = []
    scopes = made.detector.scopes()
    for start in range(0, len(scopes), 2_000):
        part = scopes[start : start + 2_000]
        similar = queries @ np.concatenate([scope.forget.vectors for scope in part]).astype(np.float32).T
        firsts = np.cumsum([0, *(len(scope.forget.vectors) for scope in part)])[:-1]
        of_scopes = np.maximum.reduceat(similar, firsts, axis=1)
        places = {scope.request_id: place for place, scope in enumerate(part)}
        for row, values in enumerate(of_scopes):
            top = np.argsort(-values)[:NEAREST]
            best[row] = sorted(
                [*best[row], *((float(values[place]), part[place].request_id) for place in top)], reverse=True
            )[:NEAREST]
            shortfalls += [
                float(values[places[request]]) - cosine for request, cosine in told[row].items() if request in places
            ]
    hits = [len({request for _, request in exact} & set(each)) for exact, each in zip(best, found, strict=True)]
    return {
        **spread(taken),
        "processor": spread(processor),
        "vectors": len(index),
        "recall_at_10": float(np.sum(hits) / sum(map(len, best))),
        "shortfall_of_cosines": {"mean": float(np.mean(shortfalls)), "largest": max(shortfalls), "n": len(shortfalls)},
        "queries": len(queries),
        "nearest_cosine": float(np.median([exact[0][0] for exact in best])),
        "own_bytes": index.own_bytes,
        "vector_bytes": sum(scope.forget.vectors.nbytes for scope in scopes),
    }


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure everything. Returns the report."""
    made = Measurement(options)

    def say(line: str) -> None:
        print(line, flush=True)

    stages, like = await measure_stages(made)
    for name, figures in stages.items():
        say(f"{name:15} p50 {figures['p50']:8.1f} ms   p99 {figures['p99']:8.1f} ms")
    rows, memory = await measure_scopes(made, like, say)
    search = await asyncio.to_thread(measure_search, made)
    search["gibibytes"] = (search["own_bytes"] + search["vector_bytes"]) / 2**30
    say(f"search p50 {search['p50']:.2f} ms, p99 {search['p99']:.2f} ms, recall@10 {search['recall_at_10']:.4f}")
    say(f"cosines too low by {search['shortfall_of_cosines']['largest']:.6f} at most")
    made.queue.close()
    return {
        "command": " ".join(["python", "benchmarks/detector.py", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "load": os.getloadavg()[0]},
        "versions": {name: version(name) for name in ("faiss-cpu", "numpy", "torch", "sentence-transformers")},
        "encoder": {"fingerprint": made.encoder.fingerprint[:16], "dimension": made.encoder.dimension},
        "targets": TARGETS,
        "stages": stages,
        "scopes": rows,
        "search": search,
        "all_scopes_bytes": memory,
    }


def plot(report: dict[str, Any], path: Path) -> None:
    """Verdict time over the number of scopes, with and without the encoder, p50 and p99."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rows = report["scopes"]
    sizes = [row["scopes"] for row in rows]
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for color, label, series in (
        ("C0", "verdict", rows),
        ("C1", "without the encoder", [row["without_encoder"] for row in rows]),
    ):
        axes.plot(sizes, [row["p50"] for row in series], "o-", color=color, label=f"{label}, median")
        axes.plot(sizes, [row["p99"] for row in series], "^:", color=color, label=f"{label}, 99th percentile")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(f"scopes of {ITEMS_EACH} vectors each")
    axes.set_ylabel("milliseconds")
    axes.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--scopes", type=int, nargs="+", default=[10, 100, 1_000, 10_000, 100_000], help="numbers of them"
    )
    parser.add_argument("--prompts", type=int, default=200, help="prompts at each number of scopes (default 200)")
    parser.add_argument("--rounds", type=int, default=5, help="long requests, and requests learned (default 5)")
    parser.add_argument("--queries", type=int, default=1_000, help="vectors searched for (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of scopes, vectors and prompts")
    parser.add_argument("--out", type=Path, default=Path("detector"), help="where to write, without an ending")
    options = parser.parse_args()
    options.scopes = sorted(options.scopes)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    report = asyncio.run(run(options))
    options.out.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    plot(report, options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
