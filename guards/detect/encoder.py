"""A sentence encoder: texts in, unit vectors out."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.detect.windows import SENTENCE_TOKENS, Window, cut

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

# Tokens of a padded batch: beyond, nothing is gained on a processor, and memory is lost.
_BATCH_TOKENS = 2_048
_SURROGATES = re.compile("[\ud800-\udfff]")


class Encoder:
    """Any sentence-transformers model in a directory. Not thread-safe: one thread owns it."""

    def __init__(self, model: SentenceTransformer, fingerprint: str) -> None:
        self._model = model.eval()
        self._tokenizer: Any = model.tokenizer
        self._longest = int(model.max_seq_length or 512)
        if self._longest < SENTENCE_TOKENS + 2:
            raise ValueError(f"the encoder reads {self._longest} tokens; at least {SENTENCE_TOKENS + 2} are needed")
        self.fingerprint = fingerprint
        """SHA-256 of the model's weights and configuration, hexadecimal."""
        self.dimension = int(model.get_embedding_dimension() or 0)

    @classmethod
    def load(cls, directory: Path, *, threads: int) -> Encoder:
        """Load the model in ``directory``. ``threads`` holds for the whole process (torch).

        Raises:
            OSError: the directory holds no model.
            ValueError: the model reads fewer tokens than a window has.
        """
        import torch  # seconds, which only who loads a model waits
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(threads)
        return cls(SentenceTransformer(str(directory), local_files_only=True), _fingerprint(directory))

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, at most the encoder's longest input."""
        return [min(len(ids), self._longest) for ids in self._ids(texts)]

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = self._tokenizer([_clean(text) for text in texts], verbose=False)["input_ids"]
        return ids

    def windows(self, text: str) -> list[Window]:
        """Character ranges that cover all of ``text``, none longer than the encoder reads."""
        tokens = self._tokenizer(_clean(text), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return cut(text, [(start, end) for start, end in tokens["offset_mapping"] if end > start])

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts: float32 [n, dimension], unit rows. A text beyond the longest input is cut off."""
        rows = np.empty((len(texts), self.dimension), dtype=np.float32)
        counts = self.token_counts(texts)
        # Longest first: batches of like length waste no padding, and memory peaks at once.
        order = sorted(range(len(texts)), key=lambda index: -counts[index])
        while order:
            size = max(1, _BATCH_TOKENS // max(1, counts[order[0]]))
            batch, order = order[:size], order[size:]
            rows[batch] = self._forward([texts[index] for index in batch])
        return rows

    def _forward(self, texts: list[str]) -> NDArray[np.float32]:
        import torch

        cleaned = [_clean(text) for text in texts]
        features = self._tokenizer(
            cleaned, padding=True, truncation=True, max_length=self._longest, return_tensors="pt"
        )
        with torch.inference_mode():
            output = self._model({name: value.to(self._model.device) for name, value in features.items()})
            vectors = torch.nn.functional.normalize(output["sentence_embedding"].float(), dim=1)
        result: NDArray[np.float32] = vectors.cpu().numpy()
        return result


def _clean(text: str) -> str:
    """Text a tokenizer accepts, of the same length: half a surrogate pair is no character."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def _fingerprint(directory: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path.suffix in {".json", ".safetensors", ".bin", ".txt", ".model"}:
            digest.update(f"{path.relative_to(directory)}\0".encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
