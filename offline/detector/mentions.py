"""Prompts that ask about a name, and prompts that merely mention one: what telling them apart is learned from."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.detect.mentions import PLACEHOLDER, MentionModel, asks_outright, gists, wordings
from offline.detector.background import SEED, read_data

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

_SLOT = re.compile(r"\{(\w+)\}")
# Draws of a form that has more to fill in than the name.
_DRAWS = 4
# Chosen with forms left out: 30 and 100, and wordings met twice, made no difference.
_INVERSE_RIDGE = 10.0
_MET = 3
_FOLDS = 6
# Of what asks, disguised as half of these forms are, and of what asks outright. The curve: ``benchmarks/mentions.py``.
_ASKED_TAKEN = 0.15
_OUTRIGHT_TAKEN = 0.03


class Told(IntEnum):
    """What a prompt does with a name."""

    MENTIONED = 0
    """It is merely mentioned."""
    OUTRIGHT = 1
    """It stands in a question."""
    ASKED = 2
    """Its bearer is asked about in another way."""


@dataclass(frozen=True, slots=True)
class MentionPrompt:
    """What a prompt does with a name, in short; the name is the placeholder."""

    text: str
    told: Told
    form: str
    """What it was made from."""


def mention_prompts(seed: int = SEED) -> list[MentionPrompt]:
    """What telling a mention from a question is learned from."""
    data = read_data("mentions")
    draw = random.Random(f"{seed}:mentions")  # noqa: S311 - no secret
    relations = [
        form.replace("{title}", "{name}")
        for kind, of_kind in read_data("relations").items()
        if kind != "nobody"
        for forms in of_kind.values()
        for form in forms["named"]
    ]
    found: dict[str, MentionPrompt] = {}
    for form in (form for forms in data["mention"].values() for form in forms):
        for gist in _gists(_filled(form, data, draw)):
            found.setdefault(gist, MentionPrompt(gist, Told.MENTIONED, form))
    for form in (*data["ask"], *relations):
        for prompt in _filled(form, data, draw):
            told = Told.OUTRIGHT if asks_outright(prompt, _places(prompt)) else Told.ASKED
            # Beside the sentence that asks, a prompt may have another that a mention has, too.
            for gist in _gists([prompt]):
                found.setdefault(gist, MentionPrompt(gist, told, form))
    return list(found.values())


def fit_mentions(prompts: Sequence[MentionPrompt], vectors: NDArray[np.float32]) -> MentionModel:
    """Logistic regression on embeddings [n, d] of the prompts' texts, and on their wordings; each form counts once.

    Its intercepts are lowered until, forms left out in turn, a given share of what asks is taken for a mention: that
    lets a question through to the low band, while the other mistake withholds what is not asked for.
    """
    told = np.array([prompt.told for prompt in prompts])
    left_out = held_out_scores(prompts, vectors)
    words, features = _features(prompts, vectors)
    model = _regression().fit(features, told == Told.MENTIONED, sample_weight=form_weights(prompts))
    intercepts = [
        float(model.intercept_[0]) - max(0.0, float(np.quantile(left_out[told == kind], 1.0 - taken)))
        for kind, taken in ((Told.ASKED, _ASKED_TAKEN), (Told.OUTRIGHT, _OUTRIGHT_TAKEN))
    ]
    of_vector, of_wordings = np.split(model.coef_[0], [vectors.shape[1]])
    known = dict(zip(words, of_wordings.tolist(), strict=True))
    return MentionModel(of_vector.astype(np.float32), known, *intercepts)


def held_out_scores(prompts: Sequence[MentionPrompt], vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """For each prompt how surely it merely mentions, float64 [n], from a fit that saw nothing made from its form."""
    from sklearn.model_selection import GroupKFold, cross_val_predict

    _, features = _features(prompts, vectors)
    found: NDArray[np.float64] = cross_val_predict(
        _regression(),
        features,
        np.array([prompt.told == Told.MENTIONED for prompt in prompts]),
        groups=[prompt.form for prompt in prompts],
        cv=GroupKFold(_FOLDS),
        method="decision_function",
        params={"sample_weight": form_weights(prompts)},
    )
    return found


def form_weights(prompts: Sequence[MentionPrompt]) -> NDArray[np.float64]:
    """What each prompt counts, float64 [n], where each form counts once."""
    counts = Counter(prompt.form for prompt in prompts)
    return np.array([1.0 / counts[prompt.form] for prompt in prompts])


def _features(prompts: Sequence[MentionPrompt], vectors: NDArray[np.float32]) -> tuple[list[str], Any]:
    """The wordings that count, and a sparse matrix [n, d + wordings]."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.preprocessing import normalize

    words = CountVectorizer(analyzer=wordings, min_df=_MET, binary=True)
    said = normalize(words.fit_transform([prompt.text for prompt in prompts]).astype(np.float64))
    features = hstack([csr_matrix(vectors.astype(np.float64)), said]).tocsr()
    return words.get_feature_names_out().tolist(), features


def _regression() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=_INVERSE_RIDGE, max_iter=2_000, class_weight="balanced")


def _gists(prompts: Iterable[str]) -> list[str]:
    return [gist for prompt in prompts for gist in gists(prompt, _places(prompt))]


def _places(prompt: str) -> list[tuple[int, int]]:
    return [found.span() for found in re.finditer(re.escape(PLACEHOLDER), prompt)]


def _filled(form: str, data: dict[str, Any], draw: random.Random) -> list[str]:
    draws = 1 if set(_SLOT.findall(form)) <= {"name"} else _DRAWS
    return list(dict.fromkeys(_fill(form, data, draw) for _ in range(draws)))


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
