"""The model's token embedding, made so that chosen rows of a forward pass can be replaced.

A forward hook on the embedding module swaps marked rows for prepared ones. It stands behind the module's own
forward, hence behind the tensor-parallel all-reduce, and changes neither the module's name nor its weight: an
output head that shares them is not touched. The two buffers live as long as the module and keep their
addresses, so a compiled or captured graph reads what was last written into them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_REPLACEMENT = "unremember_replacement"
_MASK = "unremember_mask"
_STD_CHUNK = 4096


class Corruptible:
    """An embedding module with the hook installed, and the handle to write its rows."""

    def __init__(self, module: torch.nn.Module, *, max_tokens: int) -> None:
        """Install on ``module``, which maps ids [n] to rows [n, hidden]; at most ``max_tokens`` a forward pass.

        Raises ValueError if it carries the hook already.
        """
        if hasattr(module, _MASK):
            raise ValueError("the embedding module is corruptible already")
        # A LoRA layer's forward reads the batch's adapter mapping, which rows of our own do not have.
        self._base = cast("torch.nn.Module", getattr(module, "base_layer", module))
        weight = next(self._base.parameters())
        with torch.inference_mode():
            sample = self._base.forward(torch.zeros(1, dtype=torch.int64, device=weight.device))
        # Outside inference mode: graphs that vLLM compiles may not take inference tensors for mutable inputs.
        with torch.inference_mode(mode=False):
            self._replacement = torch.zeros(max_tokens, sample.shape[1], dtype=sample.dtype, device=sample.device)
            self._mask = torch.zeros(max_tokens, dtype=torch.bool, device=sample.device)
        module.register_buffer(_REPLACEMENT, self._replacement, persistent=False)
        module.register_buffer(_MASK, self._mask, persistent=False)
        module.register_forward_hook(_substitute)
        self._dirty = False
        self._limit = torch.finfo(sample.dtype).max / 4
        self.std = self._standard_deviation()
        """Standard deviation over the whole embedding matrix: the unit of a corruption's strength."""

    @torch.inference_mode()
    def base(self, ids: NDArray[np.int64]) -> torch.Tensor:
        """The clean embeddings of token ids [n] -> float32 [n, hidden]. Under tensor parallelism, a collective."""
        return cast("torch.Tensor", self._base.forward(torch.from_numpy(ids).to(self._mask.device))).float()

    @torch.inference_mode()
    def write(self, rows: NDArray[np.int64], replacement: torch.Tensor) -> None:
        """Have the next forward pass return ``replacement`` [n, hidden] at ``rows`` [n] of its output."""
        index = torch.from_numpy(rows).to(self._mask.device)
        # An infinity would turn into NaN in the KV cache, and outlive the request there.
        finite = replacement.clamp(-self._limit, self._limit)
        self._replacement[index] = finite.to(self._replacement.dtype)
        self._mask[index] = True
        self._dirty = True

    @torch.inference_mode()
    def clear(self) -> None:
        """Return clean rows again. Costs nothing where nothing was written."""
        if self._dirty:
            self._mask.zero_()
            self._dirty = False

    @torch.inference_mode()
    def _standard_deviation(self) -> float:
        # By looking every token up: right under quantisation and tensor parallelism, and blind to padding rows.
        size = cast("int", getattr(self._base, "org_vocab_size", None) or self._base.num_embeddings)
        total = square = 0.0
        count = 0
        for first in range(0, size, _STD_CHUNK):
            ids = torch.arange(first, min(first + _STD_CHUNK, size), device=self._mask.device)
            rows = cast("torch.Tensor", self._base.forward(ids)).double()
            total += float(rows.sum())
            square += float(rows.square().sum())
            count += rows.numel()
        return math.sqrt(max(square / count - (total / count) ** 2, 0.0))


def _substitute(module: torch.nn.Module, _arguments: tuple[object, ...], output: torch.Tensor) -> torch.Tensor:
    # Runs inside the compiled graph, in every forward pass: one select, no synchronisation.
    count = output.shape[0]
    mask = cast("torch.Tensor", module.unremember_mask)[:count].unsqueeze(1)
    return torch.where(mask, cast("torch.Tensor", module.unremember_replacement)[:count], output)


def find_embedding(model: torch.nn.Module, *, embeddings: tuple[type, ...], heads: tuple[type, ...]) -> torch.nn.Module:
    """The model's one token embedding: an instance of ``embeddings`` that is none of ``heads``.

    Where LoRA wraps it, the wrapper. Raises ValueError where there is none or more than one: a second table
    (per-layer embeddings, a drafter) would carry the name past the corruption.
    """
    found = [module for module in model.modules() if isinstance(module, embeddings) and not isinstance(module, heads)]
    if len(found) != 1:
        raise ValueError(f"the model has {len(found)} token embeddings; corruption needs exactly one")
    wrappers = [module for module in model.modules() if getattr(module, "base_layer", None) is found[0]]
    return wrappers[0] if wrappers else found[0]
