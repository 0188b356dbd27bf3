"""Fitting what tells a turn that refers back from one that stands by itself.

Turns that refer back: questions about an owner with a pronoun in place of the name, and written ones. Turns that do
not: written ones, many with a pronoun that refers to something within, and the background, which stands by itself but
for what people say within a chat. ``python -m offline.detector.reference`` fits, and writes ``reference.json``.
"""

from __future__ import annotations

import functools
import json
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

import guards.detect.reference
from guards.detect.reference import FEATURES, features
from guards.detect.thresholds import neyman_pearson_threshold
from guards.detect.words import Words
from offline.detector.background import SEED, background_prompts, read_data, written_prompts

if TYPE_CHECKING:
    from collections.abc import Iterator

_PLACE: Final = re.compile(r"\{(?:name|title)\}('s)?")
_SUBJECTS: Final = ("he", "she", "it", "they")
_OBJECTS: Final = ("him", "her", "it", "them")
_OWNERS: Final = ("his", "her", "its", "their")
_VERBS: Final = ("did", "was", "does", "is", "has", "can", "have")
_STARTS: Final = ("", "", "", "And ", "So ", "Ok, ", "Thanks. ", "But ")


def turns() -> tuple[list[str], list[str]]:
    """Turns that refer back, and turns that stand by themselves. Distinct, and the same everywhere."""
    draw = random.Random(f"{SEED}:reference")  # noqa: S311 - no secret
    written = read_data("followups")
    referring = [*written["referring"], *_asked_again(draw)]
    within_chat = {*written_prompts()["chat.txt"], *read_data("relations")["nobody"], *referring}
    standing = [*written["standing"], *(prompt for prompt in background_prompts() if prompt not in within_chat)]
    return list(dict.fromkeys(referring)), list(dict.fromkeys(standing))


def fit() -> dict[str, Any]:
    """Weights by feature, and the intercept: both kinds of turn count the same, the written ones as the others."""
    from sklearn.linear_model import LogisticRegression  # two seconds, which only who fits waits

    kinds = turns()
    written = {turn for of_kind in ("referring", "standing") for turn in read_data("followups")[of_kind]}
    rows = np.array([features(Words(turn)) for of_kind in kinds for turn in of_kind])
    refers = np.repeat([1, 0], [len(of_kind) for of_kind in kinds])
    by_hand = np.array([turn in written for of_kind in kinds for turn in of_kind])
    weights = np.zeros(len(rows))
    for label in (0, 1):
        for hand in (False, True):
            group = (refers == label) & (by_hand == hand)
            weights[group] = len(rows) / 4 / max(1, group.sum())
    model = LogisticRegression(C=1.0, max_iter=1_000, tol=1e-8).fit(rows, refers, sample_weight=weights)
    probabilities = model.predict_proba(rows[(refers == 0) & ~by_hand])[:, 1]
    cuts = {
        name: neyman_pearson_threshold(probabilities, alpha=alpha, confidence=0.95).probability
        for name, alpha in (("surely", 0.002), ("perhaps", 0.005))
    }
    return {
        "weights": {name: round(float(weight), 4) for name, weight in zip(FEATURES, model.coef_[0], strict=True)},
        "intercept": round(float(model.intercept_[0]), 4),
        **{name: round(cut, 4) for name, cut in cuts.items()},
    }


def _asked_again(draw: random.Random) -> Iterator[str]:
    """Questions about an owner, with pronouns for the name."""
    relations = read_data("relations")
    for kind, place in (("person", 0), ("person", 1), ("record", 1), ("work", 2), ("person", 3)):
        for forms in relations[kind].values():
            for form in forms["named"]:
                if form.startswith("{") or form.count("{") > 1:
                    continue
                asked = _PLACE.sub(functools.partial(_pronoun, place), form)
                yield _decapitalised(draw.choice(_STARTS), asked)


def _pronoun(place: int, met: re.Match[str]) -> str:
    if met[1]:
        return _OWNERS[place]
    before = met.string[: met.start()].split()
    return (_SUBJECTS if before and before[-1].lower() in _VERBS else _OBJECTS)[place]


def _decapitalised(start: str, question: str) -> str:
    return start + (question if start in ("", "Thanks. ") else question[0].lower() + question[1:])


def main() -> None:
    """Fit, and write the package's file."""
    path = Path(guards.detect.reference.__file__).with_suffix(".json")
    path.write_text(json.dumps(fit(), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
