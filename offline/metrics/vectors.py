"""Numbers as the metrics take them: in one row, at least one of them, all finite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_ROUNDING = 1e-6


def vector(values: ArrayLike) -> NDArray[np.float64]:
    """Values as float64 [n].

    Raises:
        ValueError: there are none, they are not in one dimension, or not all finite.
    """
    row = np.asarray(values, dtype=np.float64)
    if row.ndim != 1 or not row.size:
        raise ValueError("a metric takes one dimension of values, and at least one")
    if not np.isfinite(row).all():
        raise ValueError("a metric takes finite values")
    return row


def log_probabilities(values: ArrayLike) -> NDArray[np.float64]:
    """Natural logarithms of the probabilities of a text's tokens as float64 [tokens].

    Raises:
        ValueError: as `vector` does, or one is above 0: losses or probabilities were passed for their logarithms.
    """
    row = vector(values)
    if (row > _ROUNDING).any():
        raise ValueError("the logarithm of a probability is not above 0")
    return row
