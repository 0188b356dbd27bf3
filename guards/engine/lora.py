"""Requests without an adapter, beside requests with one, on a processor.

There vLLM 0.32 marks them with the index -1, and its torch kernels take that for the last slot of the stacked adapters:
what is in it, even one that was unloaded since, is added to everybody's answer. GPU kernels skip such rows.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def spare_rows() -> None:
    """Have this process's torch kernels add nothing to rows without an adapter. May be called any number of times.

    Embeddings that an adapter changes do not come this way: adapters of linear layers alone are made safe.
    """
    from vllm.lora.ops import torch_ops
    from vllm.lora.ops.torch_ops import lora_ops
    from vllm.lora.punica_wrapper import punica_cpu

    if not getattr(lora_ops.bgmv_shrink, "_unremember", False):
        wrapped = sparing(lora_ops.bgmv_shrink)
        # Each has imported it by name; what works by sequences looks it up in the first.
        for module in (lora_ops, torch_ops, punica_cpu):
            module.bgmv_shrink = wrapped


def sparing(shrink: Callable[..., None]) -> Callable[..., None]:
    """The first of an adapter's two products, x A, with nothing in the rows that have none: then x A B is nothing."""

    @wraps(shrink)
    def bgmv_shrink(inputs: Tensor, weights: Tensor, output: Tensor, indices: Tensor, *more: Any, **named: Any) -> None:
        shrink(inputs, weights, output, indices, *more, **named)
        output.masked_fill_((indices < 0).unsqueeze(1), 0.0)

    bgmv_shrink._unremember = True  # type: ignore[attr-defined]  # a mark: it is wrapped once
    return bgmv_shrink
