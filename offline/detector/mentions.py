"""Prompts that ask about a name, and prompts that merely mention one: what telling them apart is learned from."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.detect.mentions import PLACEHOLDER, MentionModel, asks_outright, gists
from offline.detector.background import SEED, read_data

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_SLOT = re.compile(r"\{(\w+)\}")
# Draws of a form that has more to fill in than the name.
_DRAWS = 12
# Chosen by leaving every fifth form out in turn; from 3 to 300 it made no difference.
_INVERSE_RIDGE = 30.0
_FOLDS = 10
_ASKED_TAKEN = 0.05
_OUTRIGHT_TAKEN = 0.01


@dataclass(frozen=True, slots=True)
class MentionPrompts:
    """What prompts do with a name, in short; the name is the placeholder."""

    mentioned: tuple[str, ...]
    """It is merely mentioned."""
    outright: tuple[str, ...]
    """It stands in a question."""
    asked: tuple[str, ...]
    """Its bearer is asked about in another way."""


def mention_prompts(seed: int = SEED) -> MentionPrompts:
    """What telling a mention from a question is learned from."""
    data = read_data("mentions")
    draw = random.Random(f"{seed}:mentions")  # noqa: S311
    relations = [
        forms["named"]
        for kind, of_kind in read_data("relations").items()
        if kind != "nobody"
        for forms in of_kind.values()
    ]
    asked = _filled(
        [*data["ask"], *(form.replace("{title}", "{name}") for forms in relations for form in forms)], data, draw
    )
    mentioned = _filled([form for forms in data["mention"].values() for form in forms], data, draw)
    outright = {prompt for prompt in asked if asks_outright(prompt, _places(prompt))}
    of_mentioned = _gists(mentioned)
    # Beside the question that asks, a prompt may have another that does not.
    of_outright, of_asked = (
        tuple(
            gist
            for gist in _gists(prompt for prompt in asked if (prompt in outright) is within)
            if gist not in of_mentioned
        )
        for within in (True, False)
    )
    return MentionPrompts(of_mentioned, of_outright, of_asked)


def fit_mentions(
    mentioned: NDArray[np.float32], outright: NDArray[np.float32], asked: NDArray[np.float32]
) -> MentionModel:
    """Logistic regression on embeddings [n, d] of `MentionPrompts`.

    Its intercepts are lowered until, left out in turn, at most a given share of what asks is taken for a
    mention: that lets a question through, while the other mistake only withholds too much.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    vectors = np.concatenate([mentioned, outright, asked]).astype(np.float64)
    inside = np.arange(len(vectors)) < len(mentioned)
    model = LogisticRegression(C=_INVERSE_RIDGE, max_iter=2_000, class_weight="balanced")
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=SEED)
    held_out = cross_val_predict(model, vectors, inside, cv=folds, method="decision_function")
    model.fit(vectors, inside)
    of_outright, of_asked = held_out[len(mentioned) : -len(asked)], held_out[-len(asked) :]
    intercepts = [
        float(model.intercept_[0]) - max(0.0, float(np.quantile(scores, 1.0 - taken)))
        for scores, taken in ((of_asked, _ASKED_TAKEN), (of_outright, _OUTRIGHT_TAKEN))
    ]
    return MentionModel(model.coef_[0].astype(np.float32), *intercepts)


def _gists(prompts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(gist for prompt in prompts for gist in gists(prompt, _places(prompt))))


def _places(prompt: str) -> list[tuple[int, int]]:
    return [found.span() for found in re.finditer(re.escape(PLACEHOLDER), prompt)]


def _filled(forms: list[str], data: dict[str, Any], draw: random.Random) -> list[str]:
    filled: dict[str, None] = {}
    for form in forms:
        draws = 1 if set(_SLOT.findall(form)) <= {"name"} else _DRAWS
        filled |= dict.fromkeys(_fill(form, data, draw) for _ in range(draws))
    return list(filled)


def _fill(form: str, data: dict[str, Any], draw: random.Random) -> str:
    used: set[str] = set()

    def choose(match: re.Match[str]) -> str:
        slot = match[1].rstrip("0123456789")
        if slot == "name" or slot not in data:
            return PLACEHOLDER if slot == "name" else draw.choice(data["word"])
        chosen: str = draw.choice([one for one in data[slot] if one not in used])
        used.add(chosen)
        return chosen.replace("{name}", PLACEHOLDER)

    return _SLOT.sub(choose, form).replace("{{", "{").replace("}}", "}")
