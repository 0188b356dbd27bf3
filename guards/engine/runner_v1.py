"""The hook in vLLM's V1 model runner (``vllm.v1.worker.gpu_model_runner``, the one that runs on CPUs).

Rows are written after ``_preprocess``, when the batch has its final order, and cleared after the forward pass.
Nothing is kept between steps: whether a request asks is read from its sampling parameters while its prompt is
being computed, so that preemption, resumption and abortion need no bookkeeping. A step that computes no prompt
costs one comparison of two arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from guards.engine.prompt import Chunk, corrupt_chunk
from guards.engine.wire import from_xargs

if TYPE_CHECKING:
    from guards.engine.embedding import Corruptible


def install(runner: Any, embedding: Corruptible) -> None:
    """Wrap two methods of a loaded ``GPUModelRunner`` (or its CPU subclass), on this instance only."""
    preprocess, forward = runner._preprocess, runner._model_forward

    def _preprocess(scheduler_output: Any, *args: Any, **kwargs: Any) -> Any:
        prepared = preprocess(scheduler_output, *args, **kwargs)
        for chunk in _chunks(runner, scheduler_output):
            corrupt_chunk(embedding, chunk)
        return prepared

    def _model_forward(*args: Any, **kwargs: Any) -> Any:
        try:
            return forward(*args, **kwargs)
        finally:
            embedding.clear()

    runner._preprocess = _preprocess
    runner._model_forward = _model_forward


def _chunks(runner: Any, scheduler_output: Any) -> list[Chunk]:
    batch = runner.input_batch
    size = batch.num_reqs
    computing = np.flatnonzero(batch.num_computed_tokens_cpu[:size] < batch.num_prompt_tokens[:size])
    asked = []
    for index in computing.tolist():
        parameters = runner.requests[batch.req_ids[index]].sampling_params
        args = from_xargs(parameters.extra_args) if parameters is not None and parameters.extra_args else None
        if args is not None:
            asked.append((index, args))
    if not asked:
        return []
    counts = [scheduler_output.num_scheduled_tokens[request] for request in batch.req_ids]
    rows = np.concatenate(([0], np.cumsum(counts)))
    return [
        Chunk(
            args=args,
            prompt=batch.token_ids_cpu[index, : batch.num_prompt_tokens[index]].astype(np.int64),
            start=int(batch.num_computed_tokens_cpu[index]),
            count=counts[index],
            row=int(rows[index]),
        )
        for index, args in asked
    ]
