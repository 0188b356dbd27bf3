"""The hook in vLLM's V2 model runner (``vllm.v1.worker.gpu``), the default on GPUs.

UNTESTED ON A REAL ENGINE. The V2 runner needs Triton and so a GPU, and there is none where this project is
built. Written from the source of vLLM 0.32 and run against fakes only. Until it has run on a GPU, set
``VLLM_USE_V2_MODEL_RUNNER=0`` if in doubt; the gateway's proof by behaviour refuses to enforce where it fails.

The runner asks the model's state object for extra inputs before every forward pass, a full graph's replay
included: that is where rows are written, and those of the pass before cleared. A dummy batch passes there too;
its made-up request ids match none of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from guards.engine.prompt import Chunk, corrupt_chunk
from guards.engine.wire import CorruptionArgs, from_xargs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from guards.engine.embedding import Corruptible


def install(runner: Any, embedding: Corruptible) -> None:
    """Wrap three methods of a loaded runner's ``model_state``, on this instance of the class it resolved to."""
    state = runner.model_state
    add, remove, prepare = state.add_request, state.remove_request, state.prepare_inputs
    asked: dict[str, tuple[CorruptionArgs, NDArray[np.int64]]] = {}

    def add_request(index: int, request: Any) -> Any:
        parameters = request.sampling_params
        args = from_xargs(parameters.extra_args) if parameters is not None and parameters.extra_args else None
        if args is not None:
            # After a preemption prefill_token_ids holds output too, which is never corrupted.
            prompt = np.asarray(request.prefill_token_ids[: request.prompt_len], dtype=np.int64)
            asked[request.req_id] = (args, prompt)
        return add(index, request)

    def remove_request(request_id: str) -> Any:
        asked.pop(request_id, None)
        return remove(request_id)

    def prepare_inputs(batch: Any, *args: Any, **kwargs: Any) -> Any:
        embedding.clear()
        if asked:
            for chunk in _chunks(batch, asked):
                corrupt_chunk(embedding, chunk)
        return prepare(batch, *args, **kwargs)

    state.add_request = add_request
    state.remove_request = remove_request
    state.prepare_inputs = prepare_inputs


def _chunks(batch: Any, asked: dict[str, tuple[CorruptionArgs, NDArray[np.int64]]]) -> list[Chunk]:
    chunks = []
    for index, request in enumerate(batch.req_ids):
        if request not in asked:
            continue
        args, prompt = asked[request]
        start = int(batch.num_computed_tokens_np[index])
        if start < len(prompt):
            count, row = int(batch.num_scheduled_tokens[index]), int(batch.query_start_loc_np[index])
            chunks.append(Chunk(args=args, prompt=prompt, start=start, count=count, row=row))
    return chunks
