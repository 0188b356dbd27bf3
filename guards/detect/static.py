"""Static embeddings of a sentence encoder: a text's vector from those of its tokens, in microseconds.

After model2vec (Tulkens and van Dongen, 2024): the encoder's vector of each token by itself, weighted by how rare the
token is (Arora et al., 2017), and the mean of a text's tokens mapped linearly to the encoder's vector of the text.
``offline.encoder.distillation`` makes them.
"""

from __future__ import annotations

import bisect
import functools
import math
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import wordfreq
from tokenizers import Tokenizer

from guards.detect.encoder import clean
from guards.detect.windows import cut

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from guards.detect.windows import Window
    from guards.detect.words import Words

# On the Zipf scale: one in ten million words. What is rarer is hardly English, or a name.
_KNOWN = 2.0


@dataclass(frozen=True, slots=True)
class Cutoff:
    """A window whose cosine to every forget item is below ``threshold`` is surely outside."""

    threshold: float
    missed: float = 0.0
    """The share, of what the whole detector finds in scope, that is lost by this at most,"""
    confidence: float = 0.0
    """with this confidence,"""
    found: tuple[float, ...] = ()
    """by prompts that it found: how near each came, as `Prefilter.likely` has it."""


EVERYTHING_MAY_BE_INSIDE: Final = Cutoff(-math.inf)


@dataclass(frozen=True)
class StaticEncoder:
    """Token vectors, and what makes a sentence's vector of them. Reading is thread-safe."""

    tokenizer: str
    """The encoder's, as its own JSON."""
    tokens: NDArray[np.float16]
    """[vocabulary, d], weighted."""
    said: NDArray[np.float32]
    """[d]: the mean over ordinary texts of what their tokens give, normalised."""
    heard: NDArray[np.float32]
    """[d]: the mean of the encoder's vectors of the same texts."""
    mapping: NDArray[np.float32]
    """[d, d]: from deviations from ``said`` to deviations from ``heard``."""
    cutoff: Cutoff = EVERYTHING_MAY_BE_INSIDE
    """How near a window may come to a scope and be surely outside."""

    @property
    def dimension(self) -> int:
        """Of the vectors."""
        return int(self.mapping.shape[1])

    @functools.cached_property
    def _tokenizer(self) -> Tokenizer:
        made = Tokenizer.from_str(self.tokenizer)
        made.no_truncation()
        made.no_padding()
        return made

    def windows(self, text: str) -> tuple[list[Window], NDArray[np.float32]]:
        """A text's windows, as the encoder's own, and their vectors: float32 [n, d], unit rows."""
        encoding = self._tokenizer.encode(clean(text), add_special_tokens=False)
        pairs = [
            (span, number) for span, number in zip(encoding.offsets, encoding.ids, strict=True) if span[1] > span[0]
        ]
        windows = cut(text, [span for span, _ in pairs])
        starts = [span[0] for span, _ in pairs]
        ids = [number for _, number in pairs]
        within = [
            ids[bisect.bisect_left(starts, each.start) : bisect.bisect_left(starts, each.end)] for each in windows
        ]
        return windows, self._vectors(within)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts whole: float32 [n, d], unit rows."""
        encodings = self._tokenizer.encode_batch([clean(text) for text in texts], add_special_tokens=False)
        return self._vectors([encoding.ids for encoding in encodings])

    def _vectors(self, of_texts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        rows = (bags(self.tokens, of_texts) - self.said) @ self.mapping + self.heard
        return unit(rows.astype(np.float32))

    def save(self, path: Path) -> None:
        """Write to ``path``, in one step."""
        partial = path.with_name(path.name + ".partial")
        with partial.open("wb") as file:
            np.savez(
                file,
                tokenizer=np.frombuffer(self.tokenizer.encode(), dtype=np.uint8),
                tokens=self.tokens,
                said=self.said,
                heard=self.heard,
                mapping=self.mapping,
                cutoff=np.array([self.cutoff.threshold, self.cutoff.missed, self.cutoff.confidence]),
                found=np.array(self.cutoff.found),
            )
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> StaticEncoder:
        """Read what `save` wrote.

        Raises:
            OSError: the file cannot be read.
            ValueError: it holds no static encoder.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            threshold, missed, confidence = arrays["cutoff"].tolist()
            tokenizer = arrays["tokenizer"].tobytes().decode()
            tokens, said, heard, mapping = (arrays[name] for name in ("tokens", "said", "heard", "mapping"))
            cutoff = Cutoff(threshold, missed, confidence, tuple(arrays["found"].tolist()))
            return cls(tokenizer, tokens, said, heard, mapping, cutoff)
        except (EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError("the file holds no static encoder") from error


def bags(tokens: NDArray[np.float16], of_texts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    """The mean of ``tokens`` [vocabulary, d] over each text's: float32 [n, d], unit rows, or zero for no tokens."""
    means = np.zeros((len(of_texts), tokens.shape[1]), dtype=np.float32)
    for row, ids in zip(means, of_texts, strict=True):
        if ids:
            np.mean(tokens[ids], axis=0, dtype=np.float32, out=row)
    return unit(means)


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows [n, d] of length one; zero stays zero."""
    made: NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return made


def coverage(words: Words) -> float:
    """The share of a text's words that are known English ones, which static embeddings hold for: 0..1; numbers are."""
    texts = words.texts
    return sum(map(_known, texts)) / len(texts) if texts else 0.0


@functools.lru_cache(maxsize=65_536)
def _known(word: str) -> bool:
    return word.isdigit() or wordfreq.zipf_frequency(word, "en", wordlist="large") >= _KNOWN
