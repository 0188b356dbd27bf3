"""Runs of words of a text too long to keep as phrases, as hashes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import numpy as np

from guards.phrases.folding import fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RUN: Final = 8
"""Words in a run: so many in a row, in the same order, are a quotation; fewer are often a turn of phrase."""

_HASH_BYTES: Final = 8
_KEPT: Final = 65_536


class _Folding(dict[int, str]):
    """`fold` for ``str.translate``, which loops over a book's characters outside of Python."""

    def __missing__(self, ordinal: int) -> str:
        folded = fold(chr(ordinal))
        if len(self) < _KEPT:
            self[ordinal] = folded
        return folded


_FOLDING: Final = _Folding()


def words_of(text: str) -> list[str]:
    """The folded words of a text, as phrases are matched."""
    return text.translate(_FOLDING).split()


def hashes(words: Sequence[str]) -> NDArray[np.uint64]:
    """One for each run of ``RUN`` folded words, in order: the first 8 bytes of BLAKE2b over them and single blanks."""
    runs = (" ".join(words[first : first + RUN]) for first in range(len(words) - RUN + 1))
    digests = b"".join(hashlib.blake2b(run.encode(), digest_size=_HASH_BYTES).digest() for run in runs)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)
