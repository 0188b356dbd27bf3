"""A sentence encoder: texts in, unit vectors out."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.detect.windows import SENTENCE_TOKENS, Window, cut

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

    Forward = Callable[[Mapping[str, NDArray[np.int64]]], NDArray[np.float32]]

# Tokens of a padded batch: beyond, nothing is gained on a processor, and memory is lost.
_BATCH_TOKENS = 2_048
_SURROGATES = re.compile("[\ud800-\udfff]")


class Encoder:
    """Any sentence-transformers model in a directory. Not thread-safe: one thread owns it.

    Args:
        tokenizer: the model's.
        forward: from a padded batch, the tokenizer's names with int64 [n, tokens] each, to sentence embeddings
            float32 [n, dimension].
        longest: tokens that the model reads at most.
        prompt: what the model wants said before each text.
        fingerprint: tells apart whatever gives other vectors.

    Raises:
        ValueError: the model reads fewer tokens than a window has.
    """

    def __init__(
        self, tokenizer: Any, forward: Forward, *, longest: int, dimension: int, fingerprint: str, prompt: str = ""
    ) -> None:
        self._tokenizer = tokenizer
        self._prompt = prompt
        self._longest = longest
        needed = SENTENCE_TOKENS + self.token_counts([""])[0]
        if longest < needed:
            raise ValueError(f"the encoder reads {longest} tokens; at least {needed} are needed")
        self._infer = forward
        self.dimension = dimension
        self.fingerprint = fingerprint
        """SHA-256 of the model's weights and configuration and of what runs them, hexadecimal."""

    @staticmethod
    def load(directory: Path, *, threads: int) -> Encoder:
        """Load the model in ``directory`` into torch. ``threads`` holds for the whole process.

        Raises:
            OSError: the directory holds no model.
            ValueError: the model reads fewer tokens than a window has.
        """
        import torch  # seconds, which only who loads a model waits

        torch.set_num_threads(threads)
        model = load_model(directory)

        def forward(features: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
            with torch.inference_mode():
                given = {name: torch.from_numpy(each).to(model.device) for name, each in features.items()}
                vectors: NDArray[np.float32] = model(given)["sentence_embedding"].float().cpu().numpy()
            return vectors

        return encoder_of(model, forward, fingerprint=fingerprint(directory))

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, at most the encoder's longest input."""
        return list(map(len, self._tokens(texts)["input_ids"]))

    def _tokens(self, texts: Sequence[str]) -> dict[str, list[list[int]]]:
        """By the tokenizer's names, for each text, what the model reads of it."""
        asked = [self._asked(text) for text in texts]
        return dict(self._tokenizer(asked, truncation=True, max_length=self._longest, verbose=False))

    def _asked(self, text: str) -> str:
        return self._prompt + clean(text)

    def windows(self, text: str) -> list[Window]:
        """Character ranges that cover all of ``text``, none longer than the encoder reads."""
        tokens = self._tokenizer(clean(text), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return cut(text, [(start, end) for start, end in tokens["offset_mapping"] if end > start])

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts: float32 [n, dimension], unit rows. A text beyond the longest input is cut off."""
        rows = np.empty((len(texts), self.dimension), dtype=np.float32)
        tokens = self._tokens(texts) if texts else {"input_ids": []}
        counts = list(map(len, tokens["input_ids"]))
        # Longest first: batches of like length waste no padding, and memory peaks at once.
        order = sorted(range(len(texts)), key=lambda index: -counts[index])
        while order:
            size = max(1, _BATCH_TOKENS // max(1, counts[order[0]]))
            batch, order = order[:size], order[size:]
            rows[batch] = self._forward({name: [each[index] for index in batch] for name, each in tokens.items()})
        return rows

    def _forward(self, tokens: Mapping[str, list[list[int]]]) -> NDArray[np.float32]:
        padded = self._tokenizer.pad(tokens, return_tensors="np", verbose=False)
        vectors = self._infer({name: np.asarray(each, dtype=np.int64) for name, each in padded.items()})
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: NDArray[np.float32] = vectors / np.maximum(lengths, 1e-12)
        return unit


def load_model(directory: Path) -> SentenceTransformer:
    """The model in ``directory``, for inference. Raises OSError: there is none."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(directory), local_files_only=True).eval()


def encoder_of(model: SentenceTransformer, forward: Forward, *, fingerprint: str) -> Encoder:
    """An encoder with the model's tokenizer, and its default prompt if it has one, that runs ``forward``."""
    return Encoder(
        model.tokenizer,
        forward,
        longest=longest_input(model),
        dimension=int(model.get_embedding_dimension() or 0),
        fingerprint=fingerprint,
        prompt=model.prompts.get(model.default_prompt_name or "", "") or "",
    )


def longest_input(model: SentenceTransformer) -> int:
    """Tokens that a model reads at most."""
    return int(model.max_seq_length or 512)


def clean(text: str) -> str:
    """Text a tokenizer accepts, of the same length: half a surrogate pair is no character."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def fingerprint(directory: Path) -> str:
    """SHA-256 of a model's weights and configuration, hexadecimal."""
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path.suffix in {".json", ".safetensors", ".bin", ".txt", ".model"}:
            digest.update(f"{path.relative_to(directory)}\0".encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
