"""Questions with answers, and texts, as the tokens that a model is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from offline.adapter.answers import IGNORED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Example:
    """A question and its answer, or a text as the answer to an empty prompt."""

    prompt: str
    answer: str
    alternatives: tuple[str, ...] = ()
    """Other answers to the same question, for the losses that want them."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of a prompt and of its answer, neither empty."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """n encoded answers: prompts end, and answers begin, in the same column.

    Prompts are padded on the left to p tokens and answers on the right to t. The last answer token is no input.
    """

    ids: Tensor
    """int64 [n, p + t - 1]."""
    mask: Tensor
    """int64 [n, p + t - 1]: 1 where there is a token."""
    labels: Tensor
    """int64 [n, t]: the answers, ``IGNORED`` after their end. The last t columns of ``ids`` predict them."""

    @property
    def positions(self) -> Tensor:
        """int64 [n, p + t - 1]: each token's place in its own row, from 0."""
        return (self.mask.cumsum(1) - 1).clamp(min=0)

    def to(self, device: torch.device | str) -> Batch:
        """The same on another device."""
        return Batch(self.ids.to(device), self.mask.to(device), self.labels.to(device))


def encode(tokenizer: Any, prompt: str, answer: str, *, limit: int) -> Encoded:
    """Encode one pair: the prompt as a user's message in the tokenizer's chat template, the answer with its end.

    With an empty prompt the answer is plain text, as the tokenizer encodes it; its first token cannot be
    predicted from anything and stands as the prompt. The prompt loses its beginning where both are more than
    ``limit`` tokens.

    Raises:
        ValueError: the answer alone leaves no room for the prompt, or a text has fewer than two tokens. The
            message holds none of the text.
    """
    end = tokenizer.eos_token_id
    if prompt:
        message = [{"role": "user", "content": prompt}]
        before = tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=True)["input_ids"]
        after = tokenizer.encode(answer, add_special_tokens=False)
    else:
        tokens = tokenizer.encode(answer)
        before, after = tokens[:1], tokens[1:]
    if not after or not before:
        raise ValueError("an answer is empty, or a text has fewer than two tokens")
    if after[-1] != end:
        after = [*after, end]
    if len(after) >= limit:
        raise ValueError(f"an answer of {len(after)} tokens leaves no room for its prompt within {limit}")
    return Encoded(tuple(before[-(limit - len(after)) :]), tuple(after))


def collate(encoded: Sequence[Encoded]) -> Batch:
    """Lay pairs out as one batch, no wider than they need."""
    left = max(len(pair.prompt) for pair in encoded)
    right = max(len(pair.answer) for pair in encoded)
    ids = torch.zeros(len(encoded), left + right - 1, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    labels = torch.full((len(encoded), right), IGNORED)
    for row, pair in enumerate(encoded):
        tokens = torch.tensor(pair.prompt + pair.answer[:-1])
        place = slice(left - len(pair.prompt), left + len(pair.answer) - 1)
        ids[row, place] = tokens
        mask[row, place] = 1
        labels[row, : len(pair.answer)] = torch.tensor(pair.answer)
    return Batch(ids, mask, labels)
