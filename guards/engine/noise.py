"""The kinds of corruption of ECO (Liu et al., NeurIPS 2024): base embedding rows to replacement rows.

Randomness is drawn on the CPU by a counter-based generator keyed by the request's seed and the token's
absolute position. A row is therefore the same in whatever chunk, batch or recomputation it is made, and on
whatever rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Rows = Callable[["torch.Tensor", "Draw"], "torch.Tensor"]
    Order = Callable[["NDArray[np.int64]", int], "NDArray[np.int64]"]

# Highest word of the generator's 256-bit counter: keeps the uses of one seed apart.
_NORMALS, _PERMUTATION, _DIMENSIONS = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Draw:
    """What a kind may use beside the rows themselves."""

    seed: int
    positions: NDArray[np.int64]
    """Absolute positions in the prompt, one for each row."""
    sigma: float
    """The strength times the standard deviation of the embedding matrix."""
    dimensions: int
    """How many dimensions to change; 0 is all."""

    def width(self, rows: torch.Tensor) -> int:
        """The number of dimensions to change in rows of this size."""
        hidden = rows.shape[1]
        return min(self.dimensions, hidden) if self.dimensions else hidden

    def noise(self, rows: torch.Tensor) -> torch.Tensor:
        """Normal noise of standard deviation ``sigma``: float32 [n, width], on the rows' device."""
        width = self.width(rows)
        drawn = np.empty((len(self.positions), width), dtype=np.float32)
        for row, position in zip(drawn, self.positions, strict=True):
            _generator(self.seed, _NORMALS, int(position)).standard_normal(width, dtype=np.float32, out=row)
        return torch.from_numpy(drawn).mul_(self.sigma).to(rows.device)


ROWS: dict[str, Rows] = {}
"""Kind to function: float32 rows [n, hidden] and a draw to new rows of the same shape."""

ORDERS: dict[str, Order] = {}
"""Kind to function: the request's corrupted positions to those whose embeddings they get."""


def corrupt(kind: str, rows: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Replacement rows for the base rows, float32 [n, hidden]; the input is left as it is."""
    change = ROWS.get(kind)
    return rows if change is None else change(rows.clone(), draw)


def sources(kind: str, positions: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Whose token's base embedding each of the positions starts from."""
    order = ORDERS.get(kind)
    return positions if order is None else order(positions, seed)


def _rows(kind: str) -> Callable[[Rows], Rows]:
    def enter(function: Rows) -> Rows:
        ROWS[kind] = function
        return function

    return enter


def _order(kind: str) -> Callable[[Order], Order]:
    def enter(function: Order) -> Order:
        ORDERS[kind] = function
        return function

    return enter


@_rows("gaussian-first")
def gaussian_first(rows: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Add noise to the first dimensions. With ``dimensions`` 0: to all of them, the usual choice."""
    rows[:, : draw.width(rows)] += draw.noise(rows)
    return rows


@_rows("gaussian-random")
def gaussian_random(rows: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Add noise to dimensions picked at random, the same ones for every token of the request."""
    chosen = _generator(draw.seed, _DIMENSIONS, 0).permutation(rows.shape[1])[: draw.width(rows)]
    rows[:, torch.from_numpy(chosen).to(rows.device)] += draw.noise(rows)
    return rows


@_rows("gaussian-top")
def gaussian_top(rows: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Add noise to each row's dimensions of largest absolute value."""
    return rows.scatter_add_(1, _largest(rows, draw), draw.noise(rows))


@_rows("replace-first")
def replace_first(rows: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Set the first dimensions to noise."""
    rows[:, : draw.width(rows)] = draw.noise(rows)
    return rows


@_rows("zero-first")
def zero_first(rows: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Set the first dimensions to zero, whatever the strength."""
    rows[:, : draw.width(rows)] = 0
    return rows


@_rows("zero-top")
def zero_top(rows: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Set each row's dimensions of largest absolute value to zero, whatever the strength."""
    return rows.scatter_(1, _largest(rows, draw), 0)


@_rows("flip-first")
def flip_first(rows: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Turn the sign of the first dimensions, whatever the strength."""
    rows[:, : draw.width(rows)] *= -1
    return rows


@_rows("flip-top")
def flip_top(rows: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Turn the sign of each row's dimensions of largest absolute value, whatever the strength."""
    chosen = _largest(rows, draw)
    return rows.scatter_(1, chosen, -rows.gather(1, chosen))


@_rows("subtract-first")
def subtract_first(rows: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Subtract sigma from the first dimensions."""
    rows[:, : draw.width(rows)] -= draw.sigma
    return rows


@_rows("subtract-top")
def subtract_top(rows: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Subtract sigma from each row's dimensions of largest absolute value."""
    chosen = _largest(rows, draw)
    return rows.scatter_(1, chosen, rows.gather(1, chosen) - draw.sigma)


@_rows("add-first")
def add_first(rows: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Add sigma to the first dimensions."""
    rows[:, : draw.width(rows)] += draw.sigma
    return rows


@_rows("add-least")
def add_least(rows: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Add sigma to each row's dimensions of smallest absolute value."""
    chosen = _by_size(rows, largest=False)[:, : draw.width(rows)]
    return rows.scatter_(1, chosen, rows.gather(1, chosen) + draw.sigma)


@_order("reverse")
def reverse(positions: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """The corrupted tokens in reverse order."""
    return positions[::-1]


@_order("shuffle")
def shuffle(positions: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """The corrupted tokens in random order; two or more never all stay where they are."""
    shuffled = _generator(seed, _PERMUTATION, 0).permutation(positions)
    if len(positions) > 1 and np.array_equal(shuffled, positions):
        return np.roll(positions, 1)
    return shuffled


def _largest(rows: torch.Tensor, draw: Draw) -> torch.Tensor:
    return _by_size(rows, largest=True)[:, : draw.width(rows)]


def _by_size(rows: torch.Tensor, *, largest: bool) -> torch.Tensor:
    # A stable sort, where topk may break ties (common in bfloat16) otherwise in a batch of another size.
    return torch.sort(rows.abs(), dim=1, descending=largest, stable=True).indices


def _generator(seed: int, use: int, position: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, position, use]))
