"""Restriction as a logits processor of vLLM's V2 model runner, the default on GPUs.

UNTESTED ON A REAL ENGINE, as ``guards.engine.runner_v2`` is: written from the source of vLLM 0.32 and run against
fakes only. The runner keeps requests in slots and their tokens on the device. A step with restricted requests
therefore waits for the device once; one without them does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor

from guards.engine.restriction import restricted
from guards.engine.restrictor import restrictor_of

if TYPE_CHECKING:
    from guards.engine.restrictor import Row


class Restriction(LogitsProcessor):  # type: ignore[misc]  # untyped in vLLM
    """Bans, in the rows of requests that ask for it, the tokens that would complete a phrase."""

    def __init__(self, vllm_config: Any, req_states: Any) -> None:
        self._restrictor = restrictor_of(vllm_config, req_states.device)
        self._states = req_states
        self._asked: dict[int, Any] = {}
        self._rows: dict[int, Row] = {}

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        """A request takes a slot, which another may have left. Its tokens are read once it is computed."""
        self._rows.pop(req_idx, None)
        self._asked.pop(req_idx, None)
        if not restricted(sampling_params.extra_args):
            return False
        self._asked[req_idx] = sampling_params
        return True

    def apply(self, logits: torch.Tensor, ctx: Any) -> torch.Tensor:
        """Ban, after grammars and before temperature."""
        # One row of logits a request: speculative decoding is refused when the engine starts.
        slots = [(place, slot) for place, slot in enumerate(ctx.idx_mapping_np.tolist()) if slot in self._asked]
        if not slots:
            return logits
        places = [place for place, _ in slots]
        positions, latest = torch.stack((ctx.pos[places].long(), ctx.input_ids[places].long())).tolist()
        rows = {}
        for (place, slot), position, token in zip(slots, positions, latest, strict=True):
            # Behind a part of a prompt nothing is written: what is sampled there is thrown away.
            if position + 1 >= int(self._states.prompt_len.np[slot]):
                rows[place] = self._row(slot, position + 1, token)
        self._restrictor.restrict(logits, rows)
        return logits

    def _row(self, slot: int, length: int, latest: int) -> Row:
        """The row of a slot's request, behind ``length`` tokens of which the last is ``latest``."""
        prompt = int(self._states.prompt_len.np[slot])
        row = self._rows.get(slot)
        if row is None:
            row = self._restrictor.row(self._asked[slot], self._tokens(slot, 0, prompt))
            assert row is not None
            self._rows[slot] = row
        row.rewind(length - prompt)
        start = prompt + row.read
        row.follow([latest] if length - start == 1 else self._tokens(slot, start, length))
        return row

    def _tokens(self, slot: int, start: int, end: int) -> list[int]:
        if start >= end:
            return []
        tokens: list[int] = self._states.all_token_ids.gpu[slot, start:end].tolist()
        return tokens
