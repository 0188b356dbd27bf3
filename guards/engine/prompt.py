"""Which rows of a forward pass belong to a prompt's corrupted tokens, and filling them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guards.engine import noise
from guards.engine.wire import REORDERINGS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from guards.engine.embedding import Corruptible
    from guards.engine.wire import CorruptionArgs


@dataclass(frozen=True, slots=True)
class Chunk:
    """The part of one request that a forward pass computes."""

    args: CorruptionArgs
    prompt: NDArray[np.int64]
    """Token ids of the whole prompt, without any output."""
    start: int
    """Position in the request of the first token computed: what earlier passes or the prefix cache did."""
    count: int
    row: int
    """The first token's row in the batch."""


def corrupt_chunk(embedding: Corruptible, chunk: Chunk) -> None:
    """Write the replacement rows of a chunk. Rows past the prompt stay clean."""
    args = chunk.args
    positions = corrupted_positions(args, len(chunk.prompt))
    low, high = np.searchsorted(positions, (chunk.start, chunk.start + chunk.count))
    if low == high:
        return
    mine = positions[low:high]
    origins = noise.sources(args.kind, positions, args.seed)[low:high]
    draw = noise.Draw(seed=args.seed, positions=mine, sigma=args.strength * embedding.std, dimensions=args.dimensions)
    rows = noise.corrupt(args.kind, embedding.base(chunk.prompt[origins]), draw)
    embedding.write(chunk.row + mine - chunk.start, rows)


def corrupted_positions(args: CorruptionArgs, prompt_tokens: int) -> NDArray[np.int64]:
    """The positions to corrupt in a prompt of this many tokens, ascending.

    Every token but the last where the count disagrees with the arguments' (the spans then point at other
    words), and where fewer than two tokens leave a reordering nothing to do. Of a single token: that one.
    """
    if args.strength == 0:
        return np.empty(0, dtype=np.int64)
    everything = np.arange(max(prompt_tokens - 1, 1), dtype=np.int64)
    if args.prompt_tokens != prompt_tokens:
        return everything
    pairs = zip(args.spans[::2], args.spans[1::2], strict=True)
    positions = np.concatenate([np.arange(start, end, dtype=np.int64) for start, end in pairs])
    return everything if args.kind in REORDERINGS and len(positions) < 2 else positions
