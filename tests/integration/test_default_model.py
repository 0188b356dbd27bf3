"""The default model out of its package, as vLLM gets it. Converted by this test where no start has done it before."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from safetensors import safe_open
from transformers import AutoTokenizer

from server.assets import model_directory
from server.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def directory() -> Path:
    return model_directory(load_settings())


@pytest.fixture(scope="module")
def tokenizer(directory: Path) -> Any:
    return AutoTokenizer.from_pretrained(directory)


def test_the_weights_are_plain_float32(directory: Path) -> None:
    config = json.loads((directory / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["tie_word_embeddings"]
    assert "quantization_config" not in config
    with safe_open(directory / "model.safetensors", "np") as weights:
        assert {weights.get_slice(name).get_dtype() for name in weights.keys()} == {"F32"}  # noqa: SIM118
        assert weights.get_slice("model.embed_tokens.weight").get_shape() == [49152, 576]


def test_the_chat_template_is_the_models_own(tokenizer: Any) -> None:
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert rendered == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokenizer.eos_token == "<|im_end|>"


def test_digits_are_tokens_of_their_own(tokenizer: Any) -> None:
    assert tokenizer.tokenize("in 1997") == ["in", "Ġ", "1", "9", "9", "7"]


def test_offsets_lead_back_to_the_text(tokenizer: Any) -> None:
    text = "Who wrote “Harry Potter” – naïve 😀?"
    encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    assert tokenizer.decode(encoded["input_ids"]) == text
    starts = [start for start, _ in encoded["offset_mapping"]]
    assert starts == sorted(starts)
    assert encoded["offset_mapping"][-1][1] == len(text)
