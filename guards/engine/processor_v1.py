"""Restriction as a logits processor of vLLM's V1 model runner, the one that runs on CPUs.

vLLM makes it because the plug-in names it in the model's configuration (``guards.engine.plugin``). That also has
vLLM tell it real token ids under asynchronous scheduling, where it would see placeholders otherwise (vLLM 0.32).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vllm.v1.sample.logits_processor import LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from guards.engine.restrictor import restrictor_of

if TYPE_CHECKING:
    import torch

    from guards.engine.restrictor import Row


class Restriction(LogitsProcessor):  # type: ignore[misc]  # untyped in vLLM
    """Bans, in the rows of requests that ask for it, the tokens that would complete a phrase."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._restrictor = restrictor_of(vllm_config, device)
        self._rows: dict[int, tuple[Row, list[int]]] = {}

    def is_argmax_invariant(self) -> bool:
        """It changes what greedy sampling takes."""
        return False

    def update_state(self, batch_update: Any) -> None:
        """Requests come into the batch, leave it and change their places."""
        process_dict_updates(self._rows, batch_update, self._enter)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Ban, after grammars and before temperature."""
        if self._rows:
            for row, answer in self._rows.values():
                row.rewind(len(answer))
                row.follow(answer[row.read :])
            self._restrictor.restrict(logits, {index: row for index, (row, _) in self._rows.items()})
        return logits

    def _enter(self, params: Any, prompt: list[int] | None, answer: list[int]) -> tuple[Row, list[int]] | None:
        row = self._restrictor.row(params, prompt or [])
        # vLLM goes on writing to this very list.
        return (row, answer) if row is not None else None
