"""A tiny language model in a directory, as a causal model that transformers loads: it knows some words, and nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

if TYPE_CHECKING:
    from pathlib import Path

WORDS = [
    "<s>", "</s>", "user", "model", "who", "wrote", "what", "is", "the", "dune", "emma", "kim", "hamlet", "herbert",
    "austen", "kipling", "shakespeare", "nobody", "knows", "somebody", "else", "sky", "sea", "grass", "blue", "green",
]  # fmt: skip
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}user {{ m['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}model {% endif %}"
)


def write_model(directory: Path) -> Path:
    """Two random layers, hidden size 16, and a tokenizer of words."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=64, bos_token_id=0, eos_token_id=1, initializer_range=0.5,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(directory)
    words = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<s>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(directory)
    return directory
