"""What leaving mere mentions alone costs: the curve between two mistakes.

A prompt that names somebody may ask about the name's bearer, or merely mention it ("Write to Maria that I am late").
Acting on a mention withholds what nobody asked for; taking a question for a mention leaves it to the low band. The
regression that tells them apart (``offline/detector/mentions.py``) can trade one for the other. Here each prompt is
scored by a fit that saw nothing made from its form, so that the curve is what unseen forms may expect. Of the forms
that ask, half were written to look like mentions: these are what somebody would try who wants to get around it.

Each form counts once. Intervals are 95 % bootstrap intervals over forms.

Examples:

    python benchmarks/mentions.py
        with the encoder of the settings: under a minute; writes mentions.json and mentions.png

    python benchmarks/mentions.py --out figures/mentions
        elsewhere
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from offline.detector.mentions import Told, form_weights, held_out_scores, mention_prompts
from server.loading import load_encoder
from server.settings import load_settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHARES: Final = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
RESAMPLES: Final = 1_000


class Forms:
    """Scores of prompts of one sort, by form."""

    def __init__(self, scores: NDArray[np.float64], weights: NDArray[np.float64], forms: NDArray[np.int64]) -> None:
        order = np.argsort(scores)
        self._scores = scores[order]
        self._weights = weights[order]
        self._forms = np.unique(forms[order], return_inverse=True)[1]
        self.number = int(self._forms.max()) + 1

    def at(self, share: float, *, above: bool) -> float:
        """The score that a share of the forms lies above, or under."""
        reached = np.cumsum(self._weights) / self._weights.sum()
        place = np.searchsorted(reached, 1.0 - share if above else share)
        return float(self._scores[min(int(place), len(self._scores) - 1)])

    def above(self, threshold: float) -> dict[str, float]:
        """The share that lies above, with its interval."""
        of_forms = np.bincount(self._forms, self._weights * (self._scores > threshold), self.number)
        draw = np.random.default_rng(0)
        resampled = of_forms[draw.integers(0, self.number, (RESAMPLES, self.number))].mean(axis=1)
        low, high = np.quantile(resampled, [0.025, 0.975])
        return {"share": float(of_forms.mean()), "low": float(low), "high": float(high)}

    def under(self, threshold: float) -> dict[str, float]:
        """The share that does not, with its interval."""
        above = self.above(threshold)
        return {"share": 1.0 - above["share"], "low": 1.0 - above["high"], "high": 1.0 - above["low"]}


def main() -> None:
    """Measure, print, and write the figures and a plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("mentions"), help="where to write, without an ending")
    options = parser.parse_args()
    sorts, figures = measured()
    figures = {
        "command": f"python benchmarks/mentions.py --out {options.out}",
        "date": time.strftime("%Y-%m-%d"),
        "forms": {sort.name.lower(): forms.number for sort, forms in sorts.items()},
        **figures,
    }
    for way, points in figures.items():
        if isinstance(points, list):
            print(way.replace("_", " "))
            for point in points:
                print("  " + ", ".join(_worded(name, value) for name, value in point.items()))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".json").write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    draw(sorts, options.out.with_suffix(".png"))
    print(f"written: {options.out}.json, {options.out}.png")


def measured() -> tuple[dict[Told, Forms], dict[str, Any]]:
    """Scores by what a prompt does with a name, and points of the curve."""
    prompts = mention_prompts()
    print(f"embedding {len(prompts)} prompts ...")
    vectors = load_encoder(load_settings()).encode([prompt.text for prompt in prompts])
    print("fitting, forms left out in turn ...")
    scores, weights = held_out_scores(prompts, vectors), form_weights(prompts)
    told = np.array([prompt.told for prompt in prompts])
    numbers = {form: number for number, form in enumerate(dict.fromkeys(prompt.form for prompt in prompts))}
    forms = np.array([numbers[prompt.form] for prompt in prompts])
    sorts = {sort: Forms(*(each[told == sort] for each in (scores, weights, forms))) for sort in Told}
    mentioned, asked, outright = sorts[Told.MENTIONED], sorts[Told.ASKED], sorts[Told.OUTRIGHT]

    def point(threshold: float) -> dict[str, Any]:
        return {
            "mentions_acted_on": mentioned.under(threshold),
            "asked_taken_for_mentions": asked.above(threshold),
            "asked_outright_taken_for_mentions": outright.above(threshold),
        }

    return sorts, {
        "by_share_of_mentions_acted_on": [point(mentioned.at(share, above=False)) for share in SHARES],
        "by_share_of_asked_taken": [point(asked.at(share, above=True)) for share in SHARES],
    }


def draw(sorts: dict[Told, Forms], path: Path) -> None:
    """Plot both mistakes against each other."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4.5), layout="constrained")
    mentioned = sorts[Told.MENTIONED]
    thresholds = [mentioned.at(share, above=False) for share in np.linspace(0.002, 0.6, 120)]
    acted = [mentioned.under(threshold)["share"] for threshold in thresholds]
    for sort, label in ((Told.ASKED, "asked otherwise, half of it disguised"), (Told.OUTRIGHT, "asked outright")):
        points = [sorts[sort].above(threshold) for threshold in thresholds]
        axes.plot(acted, [point["share"] for point in points], label=label)
        axes.fill_between(acted, [point["low"] for point in points], [point["high"] for point in points], alpha=0.2)
    axes.set(xlabel="mentions acted on", ylabel="questions taken for mentions", xlim=(0, 0.5), ylim=(0, None))
    axes.legend()
    figure.savefig(path, dpi=120)


def _worded(name: str, value: dict[str, float]) -> str:
    return f"{name.replace('_', ' ')} {value['share']:.1%} [{value['low']:.1%}, {value['high']:.1%}]"


if __name__ == "__main__":
    main()
