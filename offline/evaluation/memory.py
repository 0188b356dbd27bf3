"""Embeddings remembered by content hash: in memory, and on disk between runs."""

from __future__ import annotations

import hashlib
import sqlite3
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray

    from guards.detect.batching import TextEncoder
    from guards.detect.windows import Window

_SLICE = 256


class Memory:
    """Arrays of one shape by the hash of the text that they belong to. No text is kept.

    ``space`` tells apart what different encoders made of the same text. Without a directory, in memory only.
    One thread at a time.
    """

    def __init__(
        self, space: str, shape: tuple[int, ...], directory: Path | None, dtype: DTypeLike = np.float32
    ) -> None:
        self._space = space
        self._shape = shape
        self._dtype = np.dtype(dtype)
        self._known: dict[bytes, NDArray[np.float32]] = {}
        self._file: sqlite3.Connection | None = None
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(directory / "embeddings.sqlite", check_same_thread=False, timeout=60.0)
            self._file.execute("CREATE TABLE IF NOT EXISTS arrays (key BLOB PRIMARY KEY, value BLOB NOT NULL)")

    def get(self, texts: Sequence[str], make: Callable[[Sequence[str]], NDArray[np.float32]]) -> NDArray[np.float32]:
        """float32 [n, *shape]; ``make`` is asked for the distinct texts that are not known yet."""
        if not texts:
            return np.empty((0, *self._shape), dtype=np.float32)
        keys = [self._key(text) for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
        self._recall(missing)
        # By length, so that a batch holds texts of like length.
        order = sorted(missing, key=lambda key: len(missing[key]))
        for start in range(0, len(order), _SLICE):
            part = order[start : start + _SLICE]
            made = make([missing[key] for key in part]).astype(self._dtype)
            self._known.update(zip(part, made, strict=True))
            self._keep(part)
        return np.stack([self._known[key] for key in keys]).astype(np.float32)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _key(self, text: str) -> bytes:
        return hashlib.sha256(f"{self._space}\0{text}".encode("utf-8", "surrogatepass")).digest()

    def _recall(self, missing: dict[bytes, str]) -> None:
        """Take what the file knows out of ``missing``."""
        if self._file is None:
            return
        wanted = list(missing)
        for start in range(0, len(wanted), _SLICE):
            part = wanted[start : start + _SLICE]
            query = f"SELECT key, value FROM arrays WHERE key IN ({','.join('?' * len(part))})"  # noqa: S608
            for key, value in self._file.execute(query, part):
                self._known[key] = np.frombuffer(value, dtype=self._dtype).reshape(self._shape)
                del missing[key]

    def _keep(self, keys: Sequence[bytes]) -> None:
        if self._file is not None:
            with self._file:
                self._file.executemany(
                    "INSERT OR REPLACE INTO arrays VALUES (?, ?)", [(key, self._known[key].tobytes()) for key in keys]
                )


class RememberingEncoder:
    """An encoder that encodes no text twice."""

    def __init__(self, encoder: TextEncoder, fingerprint: str, directory: Path | None) -> None:
        self._encoder = encoder
        self.fingerprint = fingerprint
        self.dimension = encoder.dimension
        self._memory = Memory(fingerprint, (encoder.dimension,), directory)

    def windows(self, text: str) -> list[Window]:
        """As the encoder's."""
        return self._encoder.windows(text)

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """As the encoder's."""
        return self._encoder.token_counts(texts)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As the encoder's: float32 [n, dimension], unit rows."""
        return self._memory.get(texts, self._encoder.encode)

    def close(self) -> None:
        """Close the file of embeddings."""
        self._memory.close()
