"""Published detectors, in this project's own implementations, from what their papers and code say."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np

from offline.evaluation.contestant import Judged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from offline.evaluation.prompts import Prompt

# CURaTE's (ACL Findings 2026); plain cosine is shown at the same.
_COSINE_THRESHOLD = 0.8
# ECO's (NeurIPS 2024) are 0.99 to 0.9999.
_CLASSIFIER_THRESHOLDS = (0.99, 0.9999)
# O3's (ICLR 2025): the weight of the cosine beside half the squared Mahalanobis distance, the one-class
# SVM's nu, and the share of forget texts that make its bank.
_O3_COSINE, _O3_NU, _O3_BANK = 1_000.0, 0.1, 0.8


class Cosine:
    """Highest cosine to any forget text."""

    def __init__(
        self, embed: Callable[[Sequence[str]], NDArray[np.float32]], forget: Sequence[str], *, tuned: bool = False
    ) -> None:
        """``embed`` gives unit rows [n, d]; blocks. ``tuned`` says that it is CURaTE's contrastively tuned encoder."""
        self._embed = embed
        self._forget = embed(forget)
        self.name = "CURaTE recipe" if tuned else "plain cosine"
        self.note = (
            f"Highest cosine to one of {len(forget)} forget texts"
            + (", contrastively tuned encoder" if tuned else ", the detector's own encoder")
            + f", whole prompts. Threshold {_COSINE_THRESHOLD:g}, CURaTE's."
        )

    async def judge(self, prompts: Sequence[Prompt]) -> Judged:
        """By the prompts' whole texts, as far as the encoder reads."""
        vectors = await asyncio.to_thread(self._embed, [prompt.text for prompt in prompts])
        scores = (vectors @ self._forget.T).max(axis=1).astype(np.float64)
        return Judged(scores, {f"above {_COSINE_THRESHOLD:g}": scores > _COSINE_THRESHOLD})


class Classifier:
    """ECO's recipe: a class-weighted classifier of prompts, here logistic regression on frozen embeddings.

    ECO fine-tunes RoBERTa with the forget questions and a benchmark's retained ones. Held-out questions
    are not trained on here, so what is to be left alone is learned from ordinary prompts.
    """

    name = "ECO recipe"

    def __init__(
        self,
        embed: Callable[[Sequence[str]], NDArray[np.float32]],
        forget: Sequence[str],
        ordinary: NDArray[np.float32],
    ) -> None:
        """``ordinary`` [m, d]: embedded ordinary prompts."""
        from sklearn.linear_model import LogisticRegression

        self._embed = embed
        inside = embed(forget)
        labels = np.concatenate([np.ones(len(inside), bool), np.zeros(len(ordinary), bool)])
        self._model = LogisticRegression(C=100.0, class_weight="balanced", max_iter=2_000)
        self._model.fit(np.concatenate([inside, ordinary]), labels)
        self.note = (
            f"Class-weighted logistic regression on frozen embeddings of {len(forget)} forget texts and "
            f"{len(ordinary)} ordinary ones (ECO: RoBERTa, fine-tuned, also on the benchmark's retained questions)."
        )

    async def judge(self, prompts: Sequence[Prompt]) -> Judged:
        """Log-odds, which keep high probabilities apart."""
        vectors = await asyncio.to_thread(self._embed, [prompt.text for prompt in prompts])
        scores = self._model.decision_function(vectors).astype(np.float64)
        return Judged(
            scores, {f"p > {level:g}": scores > np.log(level / (1 - level)) for level in _CLASSIFIER_THRESHOLDS}
        )


class OutlierDetector:
    """O3's detector, on a frozen encoder: layer by layer Mahalanobis distance and cosine, then a one-class SVM.

    Of a layer: s = -(z - mu)' S^-1 (z - mu) / 2 + 1000 max cos(z, bank), where the cosine has the sign under which
    nearer is more alike. Mean and (shrunk, Ledoit and Wolf, 2004) covariance are those of the bank, 80 % of the forget
    texts; the SVM, linear, is fitted to the scores of the others. The whole forget set is one request, as O3 has it.
    """

    name = "O3 detector"

    def __init__(
        self, layers: Callable[[Sequence[str]], NDArray[np.float32]], forget: Sequence[str], *, seed: int
    ) -> None:
        """``layers`` gives mean-pooled hidden states [n, layers, d]; blocks."""
        from sklearn.covariance import ledoit_wolf
        from sklearn.svm import OneClassSVM

        self._layers = layers
        order = np.random.default_rng(seed).permutation(len(forget))
        cut = max(1, min(len(forget) - 1, round(_O3_BANK * len(forget)))) if len(forget) > 1 else 1
        states = layers(forget)[order]
        bank = states[:cut]
        self._mean = bank.mean(axis=0)
        self._precision = np.stack(
            [np.linalg.inv(ledoit_wolf(layer.astype(np.float64))[0]) for layer in bank.transpose(1, 0, 2)]
        )
        self._bank = _unit(bank)
        held_out = states[cut:] if len(states) > cut else states
        self._svm = OneClassSVM(kernel="linear", nu=_O3_NU).fit(self._scores(held_out))
        self.note = (
            f"{bank.shape[1]} layers of the frozen encoder, a bank of {cut} forget texts, one-class SVM (linear, nu "
            f"{_O3_NU:g}) on the other {len(forget) - cut} (O3: RoBERTa-large with a contrastively trained LoRA)."
        )

    async def judge(self, prompts: Sequence[Prompt]) -> Judged:
        """By the prompts' whole texts, as far as the encoder reads."""
        states = await asyncio.to_thread(self._layers, [prompt.text for prompt in prompts])
        scores = self._svm.decision_function(self._scores(states)).astype(np.float64)
        return Judged(scores, {"inside": scores > 0.0})

    def _scores(self, states: NDArray[np.float32]) -> NDArray[np.float64]:
        """[n, layers], in units of the cosine's weight."""
        offset = states.astype(np.float64) - self._mean
        distance = np.einsum("nld,lde,nle->nl", offset, self._precision, offset, optimize=True)
        cosine = np.einsum("nld,mld->nlm", _unit(states), self._bank, optimize=True).max(axis=2)
        scores: NDArray[np.float64] = (-0.5 * distance + _O3_COSINE * cosine) / _O3_COSINE
        return scores


def _unit(states: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = states / np.maximum(np.linalg.norm(states, axis=-1, keepdims=True), 1e-12)
    return unit
