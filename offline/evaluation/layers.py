"""Hidden states of every layer of a sentence encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from offline.evaluation.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_LONGEST = 256
_BATCH = 16


class LayerEncoder:
    """Mean-pooled hidden states of a model's layers, without the input embeddings; encodes no text twice."""

    def __init__(self, directory: Path, fingerprint: str, cache: Path | None) -> None:
        """Load the transformer in ``directory``. Raises OSError if there is none."""
        from transformers import AutoModel, AutoTokenizer

        self._model: Any = AutoModel.from_pretrained(directory, local_files_only=True).eval()
        self._tokenizer: Any = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        config = self._model.config
        shape = (int(config.num_hidden_layers), int(config.hidden_size))
        self._memory = Memory(f"{fingerprint}:layers", shape, cache, np.float16)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 [n, layers, d]. Beyond 256 tokens a text is cut off."""
        return self._memory.get(texts, self._encode)

    def close(self) -> None:
        """Close the file of embeddings."""
        self._memory.close()

    def _encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        parts = [self._forward(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
        return np.concatenate(parts)

    def _forward(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import torch

        cleaned = [text.encode("utf-8", "replace").decode() for text in texts]
        features = self._tokenizer(cleaned, padding=True, truncation=True, max_length=_LONGEST, return_tensors="pt")
        with torch.inference_mode():
            states = torch.stack(self._model(**features, output_hidden_states=True).hidden_states[1:], dim=1)
            mask = features["attention_mask"][:, None, :, None]
            pooled = (states * mask).sum(dim=2) / mask.sum(dim=2)
        result: NDArray[np.float32] = pooled.float().numpy()
        return result
