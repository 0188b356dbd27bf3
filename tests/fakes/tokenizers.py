"""Small real tokenizers of the two kinds that language models have, trained on a few lines."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

TEXTS = [
    "J. K. Rowling wrote Harry Potter. The Rowling family lived near Hogwarts, Ron and Hermione too.",
    "The growling dog was prowling; a bowling ball kept rolling along the row of low willows.",
    "Ronald saw Ron. Iron, rondo, neuron: r o n. Tolkien's ring, Tolkiens, token, talking.",
    "naïve café, Ärger, Żółć; 東京 北京 漢字 かな; Роулинг, привет; 🎉🎈 emoji.",
] * 8

SPECIAL = ["<|end|>", "<|user|>", "<|assistant|>"]


@cache
def byte_level() -> Any:
    """As GPT-2, Llama 3 and Qwen: tokens are runs of bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_tokens([AddedToken("<tool>", special=False)])
    return _fast(tokenizer)


@cache
def byte_fallback() -> Any:
    """As Llama 2, Mistral and Gemma: pieces with ▁ for a blank, and tokens for the bytes of anything else."""
    learnt = Tokenizer(models.BPE(unk_token="<unk>"))
    learnt.pre_tokenizer = pre_tokenizers.Metaspace()
    ascii_texts = [text for text in TEXTS if text.isascii()]
    learnt.train_from_iterator(
        ascii_texts, trainers.BpeTrainer(vocab_size=500, special_tokens=["<unk>"], show_progress=False)
    )
    model = json.loads(learnt.to_str())["model"]
    vocabulary = model["vocab"] | {f"<0x{byte:02X}>": len(model["vocab"]) + byte for byte in range(256)}
    merges = [tuple(merge) for merge in model["merges"]]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _fast(tokenizer, unk_token="<unk>")


def _fast(tokenizer: Tokenizer, **special: str) -> Any:
    from transformers import PreTrainedTokenizerFast  # seconds, which only who makes one waits

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>", additional_special_tokens=SPECIAL[1:], **special
    )
