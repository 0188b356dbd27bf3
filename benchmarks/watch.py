"""What the watch over an answer costs: microseconds for a token, by the number of phrases looked for.

Ordinary English text (the detector's background prompts, or --text) is fed in pieces the size of a token. Phrases are
random: names of one to three rare words, and statements that mix rare words with common ones; none is about the text.
Where UNREMEMBER_TOFU_DIR is set, a row more has what everybody's answers are watched for in practice: the facts that
the gateway derives from requests about TOFU's 200 authors. Tokens that are held back wait for the next one.
Each round measures all sizes, in an order that changes from round to round. A round's figure is the median over its
tokens; the intervals are 95 % bootstrap intervals of the mean over rounds, the 99th percentile is over all tokens.
The time is the thread's own processor time, so that other work on the machine disturbs less; it includes about as
much for reading the clock as the row with 0 phrases shows.

Examples:

    python benchmarks/watch.py
        0 to 100,000 phrases, and derived facts: two minutes; writes watch.json and watch.png

    python benchmarks/watch.py --sizes 0 10000 --rounds 30 --text answers.txt --out figures/watch
        two sizes, more rounds, text of one's own
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from wordfreq import top_n_list

from guards.phrases.derivation import derive
from guards.phrases.matching import PhraseSet
from guards.phrases.phrase import Phrase, PhraseClass
from guards.scope import Example, Kind, Source
from offline.detector.background import background_prompts
from offline.evaluation import tofu
from offline.evaluation.dataset import read_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

PROMPTS: Final = Path(__file__).parent.parent / "offline/detector/data/prompts"
ENGLISH: Final = ("chat", "everyday", "knowledge", "long", "technology", "writing")
# Letters of a word and the blank before it, or what stands between words: 4 to 5 characters on average.
TOKEN: Final = re.compile(r" ?\w{1,6}|[^\w]")
RESAMPLES: Final = 10_000


def some_phrases(count: int, rng: random.Random) -> list[tuple[str, Phrase]]:
    """``count`` different phrases, of 100 owners."""
    words = [word for word in top_n_list("en", 150_000) if word.isalpha() and len(word) > 2]
    common, rare = words[:3_000], words[15_000:]
    texts: dict[str, None] = {}
    while len(texts) < count:
        if rng.random() < 0.5:
            chosen = rng.choices(rare, k=rng.randint(1, 3))
        else:
            chosen = [rng.choice(rng.choice((common, common, rare))) for _ in range(rng.randint(3, 6))]
        texts[" ".join(chosen)] = None
    return [
        (str(number % 100), Phrase(text, PhraseClass.FACT, telling=len(text.replace(" ", ""))))
        for number, text in enumerate(texts)
    ]


def derived_facts(directory: Path) -> list[tuple[str, Phrase]]:
    """The facts of requests about each of TOFU's authors."""
    rows, ordinary = read_rows(directory / "full.jsonl"), background_prompts()
    found: list[tuple[str, Phrase]] = []
    for start in range(0, len(rows), tofu.QUESTIONS):
        examples = tuple(Example(row["question"], row["answer"]) for row in rows[start : start + tofu.QUESTIONS])
        subject = tofu.author(examples)
        phrases = derive(Source(subject, Kind.PERSON, examples=examples), ordinary).phrases
        found += [(subject, phrase) for phrase in phrases if phrase.kind is PhraseClass.FACT]
    return found


def microseconds(phrases: PhraseSet, tokens: Sequence[str]) -> tuple[list[float], tuple[int, int]]:
    """For each token; and how many were hits, or left something to hold back."""
    matcher = phrases.matcher()
    taken: list[float] = []
    hits = held = 0
    for token in tokens:
        started = time.thread_time_ns()
        hit = matcher.feed(token)
        taken.append((time.thread_time_ns() - started) / 1000)
        held += matcher.pending > 0
        if hit:
            hits += 1
            matcher = phrases.matcher()
    return taken, (hits, held)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure all rounds. Returns the report."""
    rng = random.Random(options.seed)
    files = [options.text] if options.text else [PROMPTS / f"{name}.txt" for name in ENGLISH]
    tokens = TOKEN.findall(" ".join(" ".join(file.read_text().split()) for file in files))
    everything = some_phrases(max(options.sizes), rng)
    phrases = {f"{size:,}": everything[:size] for size in options.sizes}
    if directory := os.environ.get(tofu.VARIABLE):
        facts = derived_facts(Path(directory).expanduser())
        phrases[f"{len(facts):,} derived facts"] = facts
    sets: dict[str, PhraseSet] = {}
    built: dict[str, float] = {}
    for name, some in phrases.items():
        started = time.thread_time()
        sets[name] = PhraseSet(some)
        built[name] = time.thread_time() - started
    rounds: dict[str, list[list[float]]] = {name: [] for name in sets}
    counts: dict[str, tuple[int, int]] = {}
    for number in range(-1, options.rounds):
        for name in rng.sample([*sets], k=len(sets)):
            taken, counts[name] = microseconds(sets[name], tokens)
            # Round -1 fills the caches and is not counted.
            if number >= 0:
                rounds[name].append(taken)
    return {
        "command": " ".join(["python", "benchmarks/watch.py", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "load": os.getloadavg()[0]},
        "versions": {name: version(name) for name in ("pyahocorasick", "rapidfuzz", "numpy")},
        "tokens": len(tokens),
        "characters": sum(map(len, tokens)),
        "sizes": [
            {
                "name": name,
                "phrases": len(sets[name]),
                **spread([float(np.median(taken)) for taken in rounds[name]], options.seed),
                "mean": float(np.mean(rounds[name])),
                "p99": float(np.quantile(rounds[name], 0.99)),
                "rounds": [float(np.median(taken)) for taken in rounds[name]],
                "built_in_seconds": built[name],
                "hits": counts[name][0],
                "held_back": counts[name][1] / len(tokens),
            }
            for name in sets
        ],
    }


def spread(medians: Sequence[float], seed: int) -> dict[str, float]:
    """The mean of the rounds' medians, with the ends of its 95 % interval."""
    means = np.random.default_rng(seed).choice(medians, size=(RESAMPLES, len(medians))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return {"median": float(np.mean(medians)), "low": float(low), "high": float(high)}


def plot(report: dict[str, Any], path: Path) -> None:
    """Median with its interval, rounds as points, and the 99th percentile, over the number of phrases."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    rows = report["sizes"]
    places = range(len(rows))
    for place, row in zip(places, rows, strict=True):
        axes.plot([place] * len(row["rounds"]), row["rounds"], "o", color="0.75", markersize=4)
    medians = [row["median"] for row in rows]
    ends = [[row["median"] - row["low"] for row in rows], [row["high"] - row["median"] for row in rows]]
    axes.errorbar(places, medians, yerr=ends, fmt="D-", capsize=4, color="C0", label="median")
    axes.plot(places, [row["p99"] for row in rows], "^--", color="C1", label="99th percentile")
    axes.axhline(100, color="C3", linestyle=":", label="0.1 ms")
    axes.set_yscale("log")
    axes.set_xticks(places, [row["name"].replace(" ", "\n", 1) for row in rows])
    axes.set_xlabel("phrases looked for")
    axes.set_ylabel("microseconds a token")
    axes.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[0, 10, 1_000, 10_000, 100_000], help="phrases")
    parser.add_argument("--rounds", type=int, default=10, help="counted rounds (default 10)")
    parser.add_argument("--text", type=Path, help="a text file to feed instead of the background prompts")
    parser.add_argument("--seed", type=int, default=0, help="of phrases, orders and resampling")
    parser.add_argument("--out", type=Path, default=Path("watch"), help="where to write, without an ending")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("--rounds must be 2 or more: an interval needs a spread")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    report = run(options)
    options.out.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    plot(report, options.out.with_suffix(".png"))
    for row in report["sizes"]:
        print(
            f"{row['name']:>20}  {row['median']:6.1f} us a token [{row['low']:.1f}, {row['high']:.1f}]"
            f"  99 %: {row['p99']:.0f}  held back: {row['held_back']:.1%}  built in {row['built_in_seconds']:.2f} s"
        )


if __name__ == "__main__":
    main()
