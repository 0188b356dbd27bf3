"""The static stage: what it ends before the encoder reads it, what that misses, and how long a verdict takes with it.

    ordinary   the share of ordinary prompts that it ends, with its 95 % Wilson interval, and the time to their verdict,
               with it and without, interleaved; nothing is remembered between them
    missed     the share, of the paraphrased questions that the whole detector flags, that it does not flag with the
               stage; and how many of the near neighbours and others that it flags wrongly are spared
    long       questions in 2,000 tokens of prose, and in one of ten passages of 800: the share found, and the time to
               verdict, by how many windows of a request the encoder reads at most
    curve      both shares for other cutoffs, and what those lose of the made-up prompts that the cutoff was calibrated
               on: on people, works, records and topics, of which TOFU has the first alone

Needs TOFU in UNREMEMBER_TOFU_DIR. The first run distils the encoder, a few minutes.

Examples:

    python benchmarks/static_embeddings.py
        forget01 and forget10: about fifteen minutes; writes static_embeddings.json and static_embeddings.png

    python benchmarks/static_embeddings.py --data forget05 --long 20 --out /tmp/static
        another split, a fifth of the long texts
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from guards.detect.batching import EncoderQueue
from guards.plan import Role, Segment
from offline.evaluation.guard import Rates, compiled, make_detector, segments
from offline.evaluation.intervals import Share, quantiles
from offline.evaluation.ordinary import ordinary_prompts
from offline.evaluation.prompts import Prompt
from offline.evaluation.tofu import load
from offline.evaluation.transforms import World, surrounded
from server.loading import load_calibration, load_encoder, load_static
from server.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guards.detect.calibration import Calibration
    from guards.detect.detector import Detector
    from guards.detect.encoder import Encoder
    from guards.detect.static import StaticEncoder
    from guards.scope import Scope

BUDGETS: Final = (1, 2, 4, 8, 16, 32, None)
"""Windows that the encoder reads at most; None: all that may be in a scope."""
LONG: Final = {"2,000 tokens": [2_000], "ten passages of 800 tokens": [800] * 10}
TARGETS: Final = {"ended": 0.9, "missed": 0.001, "verdict_ms": 1.0, "ten_passages_ms": 150.0}


class Measurement:
    """One encoder with its calibration and its static embeddings."""

    def __init__(self, options: argparse.Namespace) -> None:
        settings = load_settings().model_copy(update={"static_stage": True})
        self.options = options
        self.rates = Rates(
            settings.false_positive_rate, settings.low_false_positive_rate, settings.calibration_confidence
        )
        self.encoder: Encoder = load_encoder(settings)
        self.calibration: Calibration = load_calibration(settings, self.encoder, lambda _: None)
        static = load_static(settings, self.encoder, self.calibration, _say)
        assert static is not None
        self.static: StaticEncoder = static

    def queue(self) -> EncoderQueue:
        """One that remembers nothing yet, started."""
        queue = EncoderQueue(self.encoder, max_tokens=10_000_000, batch_tokens=4_096)
        queue.start()
        return queue

    async def measured(self, split: str) -> dict[str, Any]:
        """One split of TOFU."""
        data = load(split)
        queue = self.queue()
        try:
            scopes = [await compiled(source, queue, self.calibration, self.rates) for source in data.requests]
            whole = make_detector(scopes, queue, self.calibration)
            sifted = make_detector(scopes, queue, self.calibration, static=self.static)
            inside, outside = data.positives, [*data.near, *data.background]
            flagged, alarms = await _flagged(whole, inside), await _flagged(whole, outside)
            missed = np.array([not found for found in await _found(sifted, flagged)], dtype=np.bool_)
            spared = np.array([not found for found in await _found(sifted, alarms)], dtype=np.bool_)
        finally:
            queue.close()
        ordinary = [Prompt((text,)) for text in ordinary_prompts()]
        of_ordinary = np.array([sifted.likely(one.text) for one in ordinary])
        of_flagged = np.array([sifted.likely(one.text) for one in flagged])
        of_calibrating = np.array(self.static.cutoff.found)
        thresholds = np.unique(np.quantile(of_ordinary[np.isfinite(of_ordinary)], np.linspace(0, 1, 41)))
        return {
            "scopes": len(scopes),
            "items": sum(len(scope.forget.texts) for scope in scopes),
            "flagged": len(flagged),
            "flagged_without_words": int(np.isfinite(of_flagged).sum()),
            "ordinary_without_words": float(np.isfinite(of_ordinary).mean()),
            "ended": Share.where(of_ordinary < self.static.cutoff.threshold).figures(),
            "missed": Share.where(missed).figures(),
            "false_alarms_spared": Share.where(spared).figures(),
            "verdicts": await self._verdicts(scopes, ordinary[: self.options.verdicts]),
            "long": {name: await self._long(scopes, data.positives, sizes) for name, sizes in LONG.items()},
            "curve": [
                {
                    "threshold": float(threshold),
                    "ended": Share.where(of_ordinary < threshold).figures(),
                    "missed": Share.where(of_flagged < threshold).figures(),
                    "calibrating_missed": Share.where(of_calibrating < threshold).figures(),
                }
                for threshold in thresholds
            ],
        }

    async def _verdicts(self, scopes: Sequence[Scope], prompts: Sequence[Prompt]) -> dict[str, Any]:
        """Milliseconds to the verdict on ordinary prompts, with the stage and without, in turns."""
        queues = self.queue(), self.queue()
        detectors = (
            make_detector(scopes, queues[0], self.calibration, static=self.static),
            make_detector(scopes, queues[1], self.calibration),
        )
        spent: tuple[list[float], list[float]] = ([], [])
        try:
            for prompt in prompts:
                for detector, of_detector in zip(detectors, spent, strict=True):
                    started = time.perf_counter()
                    await detector.detect(segments(prompt))
                    of_detector.append(1e3 * (time.perf_counter() - started))
        finally:
            for queue in queues:
                queue.close()
        return {"with": quantiles(spent[0]), "without": quantiles(spent[1])}

    async def _long(
        self, scopes: Sequence[Scope], positives: Sequence[Prompt], sizes: Sequence[int]
    ) -> list[dict[str, Any]]:
        """Questions in one of several texts of so many tokens, by how many windows are read."""
        draw = random.Random(1)
        chosen = draw.sample(list(positives), min(self.options.long, len(positives)))
        asked = [_hidden(one, sizes, draw) for one in chosen]
        rows = []
        for budget in ("without", *BUDGETS):
            queue = self.queue()
            given: dict[str, Any] = {} if budget == "without" else {"static": self.static, "windows": budget}
            detector = make_detector(scopes, queue, self.calibration, **given)
            spent, found = [], []
            try:
                for one in asked:
                    started = time.perf_counter()
                    found.append(bool(await detector.detect(one)))
                    spent.append(1e3 * (time.perf_counter() - started))
            finally:
                queue.close()
            rows.append({"windows": budget, "found": Share.where(np.array(found)).figures(), "ms": quantiles(spent)})
        return rows


def _hidden(question: Prompt, sizes: Sequence[int], draw: random.Random) -> list[Segment]:
    """Texts of so many tokens, in one of which the question stands; all of them ask."""
    place, nothing, world = draw.randrange(len(sizes)), Prompt(("",)), World({}, ())
    texts = [
        surrounded(question if number == place else nothing, draw, world, tokens=size)
        for number, size in enumerate(sizes)
    ]
    return [Segment(("messages", number, "content"), text or "", Role.ASKS) for number, text in enumerate(texts)]


async def _flagged(detector: Detector, prompts: Sequence[Prompt]) -> list[Prompt]:
    return [one for one, found in zip(prompts, await _found(detector, prompts), strict=True) if found]


async def _found(detector: Detector, prompts: Sequence[Prompt]) -> list[bool]:
    return [bool(found) for found in await asyncio.gather(*(detector.detect(segments(one)) for one in prompts))]


def _say(share: float) -> None:
    print(f"\rdistilling the encoder: {share:.0%}", end="\n" if share >= 1.0 else "", file=sys.stderr, flush=True)


async def run(made: Measurement) -> dict[str, Any]:
    """All splits."""
    static = made.static
    return {
        "command": " ".join(["python", "benchmarks/static_embeddings.py", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "targets": TARGETS,
        "cutoff": {
            "threshold": static.cutoff.threshold,
            "missed": static.cutoff.missed,
            "confidence": static.cutoff.confidence,
            "calibrated": len(static.cutoff.found),
        },
        "splits": {split: await made.measured(split) for split in made.options.data},
    }


def plot(report: dict[str, Any], path: Path) -> None:
    """Share of ordinary prompts ended against share of flagged ones missed; long texts' recall against their time."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (ends, longs) = plt.subplots(ncols=2, figsize=(11, 4), layout="constrained")
    for split, found in report["splits"].items():
        label = f"{split}: {found['scopes']} scopes"
        ended = [100 * row["ended"]["share"] for row in found["curve"]]
        for whose, of in (("missed", "its own"), ("calibrating_missed", "those of calibration")):
            missed = [100 * row[whose]["share"] for row in found["curve"]]
            ends.plot(missed, ended, marker=".", label=f"{label}, {of}")
        ends.plot([100 * found["missed"]["share"]], [100 * found["ended"]["share"]], "k*")
        for name, rows in found["long"].items():
            taken = [row["ms"]["p50"]["value"] for row in rows]
            longs.plot(taken, [100 * row["found"]["share"] for row in rows], marker=".", label=f"{split}, {name}")
            for row, spent in zip(rows, taken, strict=True):
                shown = "all likely" if row["windows"] is None else row["windows"]
                longs.annotate(f"{shown}", (spent, 100 * row["found"]["share"]), fontsize=7, rotation=45)
    ends.axvline(100 * report["targets"]["missed"], color="gray", linewidth=1)
    ends.axhline(100 * report["targets"]["ended"], color="gray", linewidth=1, linestyle=":")
    ends.set(xlabel="missed of what the detector flags, %", ylabel="ordinary prompts ended, %", ylim=(0, 100))
    ends.set_xscale("symlog", linthresh=0.1)
    longs.axvline(report["targets"]["ten_passages_ms"], color="gray", linewidth=1, linestyle=":")
    longs.set(xlabel="time to verdict on long requests, ms", ylabel="questions found, %", xscale="log")
    for axes in (ends, longs):
        axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["forget01", "forget10"], help="TOFU's forget sets")
    parser.add_argument("--verdicts", type=int, default=300, help="ordinary prompts timed (default 300)")
    parser.add_argument("--long", type=int, default=100, help="long texts (default 100)")
    parser.add_argument("--out", type=Path, default=Path("static_embeddings"), help="where to write, without an ending")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    report = asyncio.run(run(Measurement(options)))
    options.out.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    plot(report, options.out.with_suffix(".png"))
    for split, found in report["splits"].items():
        ended, missed = found["ended"], found["missed"]
        spent, alone = (found["verdicts"][which]["p50"]["value"] for which in ("with", "without"))
        print(
            f"{split}: ends {ended['share']:.1%} of ordinary prompts (aim 90 %), misses {missed['count']} of "
            f"{missed['of']} flagged ones (at most {missed['high']:.2%}; aim 0.1 %); p50 {spent:.2f} ms with it, "
            f"{alone:.2f} ms without"
        )
        for name, rows in found["long"].items():
            print(f"  {name}")
            for row in rows:
                share, taken = row["found"]["share"], row["ms"]["p50"]["value"]
                print(f"    {row['windows']!s:8} windows: {share:.1%} found, {taken:.0f} ms")


if __name__ == "__main__":
    main()
