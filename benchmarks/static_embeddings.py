"""What a static stage could spare: prompts that a mean of token vectors tells to be outside every scope.

A vector for each token of the encoder's vocabulary: the token put through the encoder alone, weighted by how rare it is
(a / (a + p), Arora et al., 2017), and their mean mapped to the encoder's own vectors by a linear regression over the
detector's background prompts (after model2vec, Tulkens and van Dongen, 2024). A stage with such vectors could end a
prompt whose highest cosine to the forget items stays under a threshold, and in which no name, no known name and no date
of a scope stands. The curve says for each threshold which share of ordinary prompts it would end, and which share of
the prompts that the whole detector flags it would miss.

Needs TOFU in UNREMEMBER_TOFU_DIR. Shares of what is missed come with their 95 % Wilson interval.

Examples:

    python benchmarks/static_embeddings.py
        forget01 and forget10: about five minutes; writes static_embeddings.json and static_embeddings.png

    python benchmarks/static_embeddings.py --data forget05 --out /tmp/static
        another split
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from guards.detect.batching import EncoderQueue
from guards.detect.evidence import WindowText
from guards.detect.lexical import Lexicon
from guards.detect.words import Words, zipf
from offline.evaluation.guard import Rates, compiled, make_detector, segments
from offline.evaluation.intervals import Share
from offline.evaluation.ordinary import ordinary_prompts
from offline.evaluation.prompts import Prompt
from offline.evaluation.tofu import load
from server.assets import encoder_directory
from server.loading import load_calibration, load_encoder
from server.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from guards.detect.calibration import Calibration
    from guards.scope import Scope

SMOOTH: Final = 1e-3
"""`a`: words that are rarer than one in a thousand count in full."""
RIDGE: Final = 1.0
BATCH: Final = 1_024


class StaticEncoder:
    """Sentence vectors [n, d] from token vectors [vocabulary, d], mapped towards the encoder's."""

    def __init__(self, directory: Path, calibration: Calibration) -> None:
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(directory), local_files_only=True).eval()
        self._tokenizer = model.tokenizer
        self._tokens = self._weighted(self._alone(model))
        said = self._bags(calibration.background.windows)
        heard = calibration.background.vectors.astype(np.float64)
        self._said, self._heard = said.mean(axis=0), heard.mean(axis=0)
        said, heard = said - self._said, heard - self._heard
        self._map = np.linalg.solve(said.T @ said + RIDGE * np.eye(said.shape[1]), said.T @ heard)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Unit rows [n, d]."""
        return _unit((self._bags(texts) - self._said) @ self._map + self._heard)

    def _alone(self, model: Any) -> NDArray[np.float64]:
        """What the encoder makes of each token by itself."""
        import torch

        first, last = self._tokenizer.cls_token_id, self._tokenizer.sep_token_id
        rows = []
        for start in range(0, len(self._tokenizer), BATCH):
            ids = torch.arange(start, min(start + BATCH, len(self._tokenizer)))
            asked = torch.stack([torch.full_like(ids, first), ids, torch.full_like(ids, last)], dim=1)
            given = {"input_ids": asked, "attention_mask": torch.ones_like(asked)}
            with torch.inference_mode():
                rows.append(model(given)["sentence_embedding"].double().numpy())
        return np.concatenate(rows)

    def _weighted(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        words = (token.lstrip("#") for token in self._tokenizer.convert_ids_to_tokens(list(range(len(rows)))))
        share = np.array([10.0 ** (zipf(word) - 9.0) for word in words])
        weighted: NDArray[np.float64] = (rows - rows.mean(axis=0)) * (SMOOTH / (SMOOTH + share))[:, None]
        return weighted

    def _bags(self, texts: Sequence[str]) -> NDArray[np.float64]:
        ids = self._tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        empty = np.zeros(self._tokens.shape[1])
        return _unit(np.stack([self._tokens[of_text].mean(axis=0) if of_text else empty for of_text in ids]))


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit


class Telling:
    """The words by which a prompt is not surely outside: names of the scopes, and names and dates in their examples."""

    def __init__(self, scopes: Sequence[Scope]) -> None:
        self._lexicon = Lexicon()
        self._known: set[str] = set()
        for scope in scopes:
            self._lexicon.add(scope.request_id, [alias.text for alias in scope.aliases])
            for text in scope.forget.texts:
                self._known |= {word for word, rarity in WindowText.of(text).names.items() if rarity > 0.0}

    def within(self, text: str) -> bool:
        """Whether one of them is in a text."""
        return bool(self._lexicon.find(Words(text))) or not self._known.isdisjoint(WindowText.of(text).names)


async def measured(split: str, static: StaticEncoder, queue: EncoderQueue, calibration: Calibration) -> dict[str, Any]:
    """The curve of one split of TOFU."""
    data, settings = load(split), load_settings()
    rates = Rates(settings.false_positive_rate, settings.low_false_positive_rate, settings.calibration_confidence)
    scopes = [await compiled(source, queue, calibration, rates) for source in data.requests]
    detector, words = make_detector(scopes, queue, calibration), Telling(scopes)
    items = static.encode([text for scope in scopes for text in scope.forget.texts])
    ordinary = [Prompt((text,)) for text in ordinary_prompts()]
    asked = [*data.positives, *data.near, *data.background]
    flagged = [bool(found) for found in await asyncio.gather(*(detector.detect(segments(one)) for one in asked))]
    nearest = (static.encode([one.text for one in asked]) @ items.T).max(axis=1)
    told = np.array([words.within(one.text) for one in asked])
    of_flagged = np.where(told, np.inf, nearest)[flagged]
    of_ordinary = np.where(
        [words.within(one.text) for one in ordinary],
        np.inf,
        (static.encode([one.text for one in ordinary]) @ items.T).max(axis=1),
    )
    curve: list[dict[str, Any]] = [
        {
            "threshold": float(threshold),
            "ended": Share.where(of_ordinary < threshold).figures(),
            "missed": Share.where(of_flagged < threshold).figures(),
        }
        for threshold in np.unique(np.quantile(of_ordinary[np.isfinite(of_ordinary)], np.linspace(0, 1, 41)))
    ]
    within = [row for row in curve if row["missed"]["share"] <= 0.001]
    return {
        "scopes": len(scopes),
        "items": len(items),
        "flagged": len(of_flagged),
        "flagged_without_words": int(np.isfinite(of_flagged).sum()),
        "ordinary_without_words": float(np.isfinite(of_ordinary).mean()),
        "ended_within_target": within[-1]["ended"] if within else None,
        "curve": curve,
    }


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """All splits."""
    settings = load_settings()
    encoder = load_encoder(settings)
    calibration = load_calibration(settings, encoder, lambda _: None)
    static = StaticEncoder(encoder_directory(settings), calibration)
    queue = EncoderQueue(encoder, max_tokens=10_000_000, batch_tokens=4_096)
    queue.start()
    try:
        found = {split: await measured(split, static, queue, calibration) for split in options.data}
    finally:
        queue.close()
    command = " ".join(["python", "benchmarks/static_embeddings.py", *sys.argv[1:]])
    return {"command": command, "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "target": 0.001, "splits": found}


def plot(report: dict[str, Any], path: Path) -> None:
    """Share of ordinary prompts ended against share of flagged ones missed."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.5, 4), layout="constrained")
    for split, found in report["splits"].items():
        missed = [100 * row["missed"]["share"] for row in found["curve"]]
        ended = [100 * row["ended"]["share"] for row in found["curve"]]
        axes.plot(missed, ended, marker=".", label=f"{split}: {found['scopes']} scopes")
    axes.axvline(100 * report["target"], color="gray", linewidth=1)
    axes.axhline(90, color="gray", linewidth=1, linestyle=":")
    axes.set(xlabel="missed of what the detector flags, %", ylabel="ordinary prompts ended, %", ylim=(0, 100))
    axes.set_xscale("symlog", linthresh=0.1)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["forget01", "forget10"], help="TOFU's forget sets")
    parser.add_argument("--out", type=Path, default=Path("static_embeddings"), help="where to write, without an ending")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    report = asyncio.run(run(options))
    options.out.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    plot(report, options.out.with_suffix(".png"))
    for split, found in report["splits"].items():
        within = found["ended_within_target"]
        ended = f"{within['share']:.0%}" if within else "none"
        print(f"{split}: with at most 1 in 1,000 missed, ends {ended} of ordinary prompts (aim 90 %)")


if __name__ == "__main__":
    main()
