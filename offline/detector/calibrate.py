"""Learning what detection needs before any request exists: fusion weights, outlier model, background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guards.compile import item_texts
from guards.detect.calibration import Calibration, make_background
from guards.detect.evidence import FEATURES, SIGNS, ScopeEvidence, WindowText, name_strength
from guards.detect.lexical import alias_keys
from guards.detect.names import assess_aliases, names_in
from guards.detect.words import Words
from guards.scope import Items
from offline.detector.background import SEED, background_prompts
from offline.detector.fitting import fit_fusion, fit_outlier_model
from offline.detector.mentions import fit_mentions, mention_prompts
from offline.detector.training import TrainingScope, training_scopes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from guards.detect.calibration import Background
    from guards.detect.encoder import Encoder
    from guards.detect.ood import OutlierModel

_SLICE = 128
# Background prompts that each training scope is also told apart from.
_FAR = 100
# What each group of training prompts weighs in the fit. A prompt that names the subject is easy, and one
# that does not is where the other evidence must decide; near misses matter more than the far background.
_SHARES = {"named": 0.25, "unnamed": 0.25, "near": 0.4, "far": 0.1}


def calibrate(encoder: Encoder, *, progress: Callable[[float], None] | None = None) -> Calibration:
    """Calibrate detection for ``encoder``. Deterministic; ``progress`` is told the share done, 0..1."""
    prompts = background_prompts()
    windows = [[prompt[w.start : w.end] for w in encoder.windows(prompt)] for prompt in prompts]
    scopes = training_scopes()
    mentions = mention_prompts()
    read = [window for of_prompt in windows for window in of_prompt]
    texts = list(dict.fromkeys([*read, *_scope_texts(scopes), *(mention.text for mention in mentions)]))
    vectors = dict(zip(texts, _encode(encoder, texts, progress), strict=True))
    background = make_background(prompts, windows, np.stack([vectors[window] for window in read]))
    outliers = fit_outlier_model(background.vectors)
    examples = [_observe(scope, vectors, background, outliers) for scope in scopes]
    features = np.concatenate([example.features for example in examples])
    groups = np.concatenate([example.groups for example in examples])
    weights = np.zeros(len(groups))
    for group, share in _SHARES.items():
        weights[groups == group] = share * len(groups) / max(1, int((groups == group).sum()))
    inside = np.isin(groups, ("named", "unnamed"))
    fusion = fit_fusion(features, inside, weights, np.array(SIGNS, dtype=np.int8))
    mention_model = fit_mentions(mentions, np.stack([vectors[mention.text] for mention in mentions]))
    near = fusion.probabilities(features[groups == "near"])
    return Calibration(encoder.fingerprint, fusion, outliers, mention_model, background, near)


@dataclass(frozen=True, slots=True)
class _Observed:
    """Evidence about prompts of one training scope: float32 [n, features], and each prompt's group."""

    features: NDArray[np.float32]
    groups: NDArray[np.str_]


def _encode(
    encoder: Encoder, texts: Sequence[str], progress: Callable[[float], None] | None
) -> list[NDArray[np.float32]]:
    # By length, so that a batch holds texts of like length; told in characters, which time follows.
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    total = sum(map(len, texts))
    done = 0
    vectors: dict[int, NDArray[np.float32]] = {}
    for start in range(0, len(order), _SLICE):
        part = order[start : start + _SLICE]
        vectors.update(zip(part, encoder.encode([texts[index] for index in part]), strict=True))
        done += sum(len(texts[index]) for index in part)
        if progress is not None:
            progress(done / total)
    return [vectors[index] for index in range(len(texts))]


def _scope_texts(scopes: Sequence[TrainingScope]) -> list[str]:
    texts: list[str] = []
    for scope in scopes:
        items = item_texts(scope.source)
        texts += [*items.forget, *items.retain, *scope.inside, *scope.near]
    return texts


def _observe(
    scope: TrainingScope, vectors: dict[str, NDArray[np.float32]], background: Background, outliers: OutlierModel
) -> _Observed:
    items = item_texts(scope.source)
    aliases = assess_aliases((scope.source.subject, *scope.source.aliases), background.words)
    forget, retain = (_items(texts, vectors) for texts in (items.forget, items.retain))
    evidence = ScopeEvidence(aliases, forget, retain, outliers)
    named_by = [(alias_keys(alias.text), name_strength(alias.innocent_rate)) for alias in aliases]

    def strength(words: Words) -> float:
        return max((value for keys, value in named_by if names_in(words, keys)), default=0.0)

    prompts = [*scope.inside, *scope.near]
    names = np.array([strength(Words(prompt)) for prompt in prompts], dtype=np.float32)
    near, _, _ = evidence.features(
        np.stack([vectors[prompt] for prompt in prompts]), [WindowText.of(prompt) for prompt in prompts], names
    )
    of_inside = np.where(names[: len(scope.inside)] > 0, "named", "unnamed")
    draw = np.random.default_rng([SEED, len(prompts), *map(ord, scope.source.subject[:8])])
    rows = draw.choice(len(background.windows), _FAR, replace=False)
    rows = np.array([row for row in rows if strength(Words(background.windows[row])) == 0.0])
    far, _, _ = evidence.features(
        background.vectors[rows], [background.texts[row] for row in rows], np.zeros(len(rows), dtype=np.float32)
    )
    groups = np.concatenate([of_inside, np.full(len(scope.near), "near"), np.full(len(far), "far")])
    features = np.concatenate([near, far])
    if features.shape != (len(groups), len(FEATURES)):
        raise AssertionError("features and groups differ")
    return _Observed(features, groups)


def _items(texts: Sequence[str], vectors: dict[str, NDArray[np.float32]]) -> Items:
    return Items(tuple(texts), np.stack([vectors[text] for text in texts]) if texts else np.empty((0, 1), np.float32))
