"""A tokenizer of single characters, with the fake upstream's template."""

from __future__ import annotations

from typing import Any


class CharacterTokenizer:
    is_fast = True

    def decode(self, tokens: list[int]) -> str:
        return "".join(map(chr, tokens))

    def __call__(self, text: str, *, add_special_tokens: bool, return_offsets_mapping: bool) -> dict[str, Any]:
        offsets = [(index, index + 1) for index in range(len(text))]
        return {"input_ids": list(map(ord, text)), "offset_mapping": offsets}

    def apply_chat_template(self, messages: list[dict[str, Any]], *, tokenize: bool, **arguments: Any) -> str:
        return "".join(f"<{message['role']}>{message['content']}</s>" for message in messages)
