"""How much of a text a model has by heart, from the tokens that it finds most likely after each true prefix.

Both as OpenUnlearning (Dorna et al., 2025) states them. Token ids are integers [tokens]: ``predicted[i]`` is the
arg-max after the prompt and the true tokens before the i-th, ``labels[i]`` the true i-th token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def exact_memorisation(predicted: ArrayLike, labels: ArrayLike) -> float:
    """Share of tokens that are predicted, 0..1 (Tirumala et al., 2022).

    Raises:
        ValueError: there are no tokens, the lengths differ, or they are not integers [tokens].
    """
    return float(_hits(predicted, labels).mean())


def extraction_strength(predicted: ArrayLike, labels: ArrayLike) -> float:
    """1 less the share of the text that has to be given for the model to go on with all the rest, 0..1.

    After Carlini et al. (2021): 1 - k/n, k the length of the shortest prefix from which the greedy continuation equals
    the rest. A greedy continuation equals the rest just where the arg-max is right at each of its tokens, so no text is
    generated. 0 where the last token is not predicted: OpenUnlearning's code, which never tries k = n, says 1/n there.

    Raises:
        ValueError: there are no tokens, the lengths differ, or they are not integers [tokens].
    """
    hits = _hits(predicted, labels)
    missed = np.flatnonzero(~hits)
    given = int(missed[-1]) + 1 if missed.size else 0
    return 1.0 - given / len(hits)


def _hits(predicted: ArrayLike, labels: ArrayLike) -> NDArray[np.bool_]:
    one, other = np.asarray(predicted), np.asarray(labels)
    if one.ndim != 1 or one.shape != other.shape or not one.size:
        raise ValueError("predicted tokens and labels are of one length, and at least one")
    if not (np.issubdtype(one.dtype, np.integer) and np.issubdtype(other.dtype, np.integer)):
        raise ValueError("token ids are integers")
    hits: NDArray[np.bool_] = one == other
    return hits
