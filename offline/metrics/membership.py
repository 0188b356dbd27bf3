"""Membership inference: whether a model's log-probabilities tell what it was trained on from what it was not.

Every score is higher for what is more surely a member. A text is given as the natural log-probabilities of its tokens.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

import numpy as np

from offline.evaluation.roc import Scores
from offline.metrics.vectors import log_probabilities, vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

LOWEST: Final = 40.0
"""MUSE's share of tokens for Min-K %, in per cent."""

# Where the model is certain of a token its log-probabilities do not spread. OpenUnlearning's least variance is 1e-6.
_LEAST_SPREAD = 1e-3


def loss_score(tokens: ArrayLike) -> float:
    """The mean log-probability [tokens], at most 0: the negative loss (Yeom et al., 2018).

    Raises:
        ValueError: there are no tokens, or no log-probabilities.
    """
    return float(log_probabilities(tokens).mean())


def zlib_score(tokens: ArrayLike, text: str) -> float:
    """The mean log-probability [tokens] over the bytes of the zlib-compressed UTF-8 text (Carlini et al., 2021).

    At most 0. An empty text compresses to eight bytes.

    Raises:
        ValueError: there are no tokens, or no log-probabilities.
    """
    return loss_score(tokens) / len(zlib.compress(text.encode()))


def min_k_score(tokens: ArrayLike, k: float = LOWEST) -> float:
    """Min-K % (Shi et al., ICLR 2024): mean of the lowest k % of the log-probabilities [tokens], at most 0.

    The number of tokens is rounded down, and at least one.

    Raises:
        ValueError: there are no tokens, no log-probabilities, or ``k`` is not in (0, 100].
    """
    return _lowest(log_probabilities(tokens), k)


def min_k_plus_plus_score(tokens: ArrayLike, means: ArrayLike, deviations: ArrayLike, k: float = LOWEST) -> float:
    """Min-K %++ (Zhang et al., ICLR 2025): as `min_k_score`, of standardised log-probabilities.

    ``means`` and ``deviations`` [tokens] are of the whole vocabulary's log-probabilities at each token's place, every
    one weighted with its probability: mu = sum p log p, sigma^2 = sum p (log p)^2 - mu^2.

    Raises:
        ValueError: there are no tokens, the lengths differ, a value is not finite, a log-probability is above 0, a
            deviation below, or ``k`` is not in (0, 100].
    """
    row, centre, spread = log_probabilities(tokens), vector(means), vector(deviations)
    if not row.shape == centre.shape == spread.shape:
        raise ValueError("each token has its mean and its deviation")
    if (spread < 0.0).any():
        raise ValueError("a standard deviation is not below 0")
    return _lowest((row - centre) / np.maximum(spread, _LEAST_SPREAD), k)


def membership_auc(members: ArrayLike, others: ArrayLike) -> float:
    """How often a member's score is above another text's, ties half: the area under the ROC curve, 0..1.

    Scores [texts] each, by one of the functions above. 0.5 means that they do not tell.

    Raises:
        ValueError: a side has no scores, or they are not finite.
    """
    return Scores(vector(members), vector(others)).auc()


def privacy_leak(auc: float, retrained: float) -> float:
    """PrivLeak (MUSE: Shi et al., 2024), in per cent: (AUC - AUC of the retrained model) / the latter * 100.

    0 where the tested system tells members as well as a model does that was never trained on them. With the areas of
    `membership_auc`, a system that still leaks is above 0 and one that was changed too much below. MUSE's own tables,
    and OpenUnlearning's, take the area the other way round, of the hold-out texts over the forgotten ones: give
    1 - AUC for both to compare with them, and a leak is below 0.

    Raises:
        ValueError: an area is not in 0..1, or the retrained model's is 0.
    """
    if not (0.0 <= auc <= 1.0 and 0.0 < retrained <= 1.0):
        raise ValueError("areas under a curve are in 0..1, and the retrained model's is above 0")
    return (auc - retrained) / retrained * 100.0


def _lowest(row: NDArray[np.float64], k: float) -> float:
    if not 0.0 < k <= 100.0:
        raise ValueError("k is a share of the tokens, above 0 and at most 100 per cent")
    count = max(1, int(len(row) * k / 100.0))
    return float(np.sort(row)[:count].mean())
