"""What restriction costs vLLM: tokens a second with half of the batch restricted, and the processor's time a step.

One server with the plug-in is started. Each round measures, in an order that changes from round to round,

    unrestricted   no request restricted
    restricted     every second request restricted by the same phrases (10,000 by default)

each with the same number of clients, requests and tokens, and prompts never seen before. The ratio is taken within
a round, as ``benchmarks/engine.py`` does it, whose verdicts it shares. There are more rounds than there: on two cores
one round's ratio spreads by about 2 %, hardly depending on the rounds beside it, so that only more of them narrow the
interval, 45 to about +-0.7 %. Beside it, without a server, the time that
restricting half of a batch takes a step: new states, which build a table, and states that have been met apart.

Examples:

    python benchmarks/restriction.py
        the default model at full size: about 9 minutes on two cores

    python benchmarks/restriction.py --rounds 2 --requests 16 --tokens 16
        a quick look, inconclusive by its size

    python benchmarks/restriction.py --model /models/my-model --clients 64 --requests 256 --phrases 100000
        another model, under more load
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiohttp
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.engine import (
    FIRST_ID,
    KEY,
    LAST_ID,
    SERVED,
    Server,
    add_arguments,
    compare,
    report_of,
    tokens_per_second,
    write,
)
from guards.act.restriction import restriction_xargs
from guards.phrases.phrase import Phrase, PhraseClass

ROOT = Path(__file__).resolve().parent.parent

TARGET = 0.97
ROUNDS = 45
# Past the commonest words, which no phrase consists of alone.
FIRST_WORD, LAST_WORD = 3_000, 40_000


def phrases(number: int, rng: random.Random) -> list[Phrase]:
    """Made-up names and titles of one to four words, told by their first three fifths."""
    from wordfreq import top_n_list

    words = [word for word in top_n_list("en", LAST_WORD)[FIRST_WORD:] if word.isalpha() and len(word) > 3]
    made: dict[str, Phrase] = {}
    while len(made) < number:
        text = " ".join(rng.choices(words, k=rng.choice([1, 2, 2, 2, 3, 4])))
        letters = len(text.replace(" ", ""))
        made[text] = Phrase(text, PhraseClass.FACT, -(-letters * 3 // 5))
    return list(made.values())


def body(rng: random.Random, options: argparse.Namespace, xargs: dict[str, object] | None) -> dict[str, Any]:
    """One completion of a prompt of random words."""
    fields: dict[str, Any] = {
        "model": SERVED,
        "prompt": [rng.randrange(FIRST_ID, LAST_ID) for _ in range(options.prompt)],
        "max_tokens": options.tokens,
        "ignore_eos": True,
        "temperature": 0,
    }
    return fields | ({"vllm_xargs": xargs} if xargs else {})


def step_times(options: argparse.Namespace, xargs: dict[str, object], rng: random.Random) -> dict[str, Any]:
    """Microseconds that one step's restriction takes, over steps of a batch of which half is restricted."""
    import torch
    from transformers import AutoTokenizer

    from guards.engine.restrictor import Restrictor
    from guards.engine.vocabulary import read_vocabulary

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(options.model.expanduser())
    started = time.perf_counter()
    vocabulary = read_vocabulary(tokenizer)
    read = time.perf_counter()
    width = len(vocabulary)
    restrictor = Restrictor(vocabulary, KEY.encode(), width=width, device=torch.device("cpu"))
    params = SimpleNamespace(
        extra_args=xargs,
        eos_token_id=0,
        stop_token_ids=None,
        all_stop_token_ids={0},
        structured_outputs=None,
        allowed_token_ids=None,
        bad_words_token_ids=None,
        min_tokens=0,
    )
    rows = {index: restrictor.row(params, []) for index in range(0, options.clients, 2)}
    built = time.perf_counter()
    # Ordinary English, each row from another place in it.
    text = tokenizer.encode((ROOT / "README.md").read_text(encoding="utf-8"))
    places = {index: rng.randrange(len(text)) for index in rows}
    logits = torch.randn(options.clients, width)
    times: list[list[float]] = []
    for _ in range(2):
        times.append([])
        for step in range(options.steps):
            fresh = logits.clone()
            before = time.perf_counter()
            for index, row in rows.items():
                assert row is not None
                row.follow([text[(places[index] + step) % len(text)]])
            restrictor.restrict(fresh, {index: row for index, row in rows.items() if row is not None})
            times[-1].append(1e6 * (time.perf_counter() - before))
    return {
        "restricted_rows": len(rows),
        "vocabulary": width,
        "read_vocabulary_ms": 1e3 * (read - started),
        "build_phrases_ms": 1e3 * (built - read),
        "new_states_us": _spread(times[0]),
        "met_states_us": _spread(times[1]),
    }


def _spread(times: Sequence[float]) -> dict[str, float]:
    p50, p99 = np.quantile(times, [0.5, 0.99])
    return {"mean": float(np.mean(times)), "p50": float(p50), "p99": float(p99), "max": float(np.max(times))}


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Time the steps, start the server, measure all rounds, end it. Returns the report."""
    rng = random.Random(options.seed)
    xargs = restriction_xargs(phrases(options.phrases, rng), [], 0.0, KEY.encode())
    steps = step_times(options, xargs, rng)
    print(f"a step of {steps['restricted_rows']} restricted rows, microseconds: {steps['met_states_us']}", flush=True)
    series: dict[str, list[float]] = {"unrestricted": [], "restricted": []}
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session:
        server = Server(options, plugin=True, log=options.out.with_name(f"{options.out.name}.log"))
        try:
            await server.ready(session)
            for number in range(-1, options.rounds):
                for scenario in rng.sample(list(series), k=len(series)):
                    bodies = [
                        body(rng, options, xargs if scenario == "restricted" and index % 2 else None)
                        for index in range(options.requests)
                    ]
                    rate = await tokens_per_second(session, server.url, bodies, options.clients)
                    # Round -1 warms the server up and is not counted.
                    if number >= 0:
                        series[scenario].append(rate)
                if number >= 0:
                    latest = "  ".join(f"{name} {rates[-1]:6.1f}" for name, rates in series.items())
                    print(f"round {number + 1:2}/{options.rounds}  tokens/s: {latest}", flush=True)
        finally:
            server.close()
    ratio = compare("restricted", TARGET, series["unrestricted"], series["restricted"], options.seed)
    return report_of("restriction", series, [ratio]) | {"phrases": options.phrases, "step": steps}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, conflict_handler="resolve"
    )
    add_arguments(parser, out="restriction")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"counted rounds (default {ROUNDS})")
    parser.add_argument("--phrases", type=int, default=10_000, help="phrases that restrict a request (default 10000)")
    parser.add_argument("--steps", type=int, default=2_000, help="steps timed without a server (default 2000)")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("--rounds must be 2 or more: an interval needs a spread")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write(asyncio.run(run(options)), options.out, against="no request restricted")


if __name__ == "__main__":
    main()
