"""Examples as tokens, and what a model says of them: with a tiny tokenizer and a tiny random Llama."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from offline.adapter.examples import Batch, Encoded, collate, encode
from offline.adapter.forward import answers, log_probs, nll

pytestmark = pytest.mark.thorough

BOS, EOS, USER, MODEL, A, B, C, D = range(8)
WORDS = ["<s>", "</s>", "user:", "model:", "a", "b", "c", "d"]
TEMPLATE = (
    "{{ bos_token }} {% for m in messages %}{{ m['role'] }}: {{ m['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}model:{% endif %}"
)


@functools.cache
def tokenizer(*, begins: bool = False) -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="d"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if begins:
        words.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", BOS)])
    return PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>", eos_token="</s>", chat_template=TEMPLATE)


@functools.cache
def model() -> Any:
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        initializer_range=0.5, max_position_embeddings=64,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def test_a_question_and_its_answer() -> None:
    assert encode(tokenizer(), "a b", "c d", limit=20) == Encoded((BOS, USER, A, B, MODEL), (C, D, EOS))


def test_the_answer_has_no_beginning_of_its_own() -> None:
    assert encode(tokenizer(begins=True), "a", "c", limit=20).answer == (C, EOS)


def test_a_text_is_an_answer_to_an_empty_prompt() -> None:
    assert encode(tokenizer(), "", "a b c", limit=20) == Encoded((A,), (B, C, EOS))
    assert encode(tokenizer(begins=True), "", "a b c", limit=20) == Encoded((BOS,), (A, B, C, EOS))


def test_an_end_that_is_there_is_not_doubled() -> None:
    assert encode(tokenizer(), "a", "c </s>", limit=20).answer == (C, EOS)


def test_the_prompt_loses_its_beginning_and_the_answer_nothing() -> None:
    assert encode(tokenizer(), "a b", "c d", limit=8) == Encoded((BOS, USER, A, B, MODEL), (C, D, EOS))
    assert encode(tokenizer(), "a b", "c d", limit=5) == Encoded((B, MODEL), (C, D, EOS))
    assert encode(tokenizer(), "a b", "c d", limit=4) == Encoded((MODEL,), (C, D, EOS))
    with pytest.raises(ValueError, match="3 tokens leaves no room for its prompt within 3"):
        encode(tokenizer(), "a b", "c d", limit=3)


@pytest.mark.parametrize(("prompt", "answer"), [("a", ""), ("", ""), ("", "a")])
def test_nothing_to_train_on(prompt: str, answer: str) -> None:
    with pytest.raises(ValueError, match="empty, or a text has fewer than two tokens"):
        encode(tokenizer(), prompt, answer, limit=9)


def test_a_batch_lines_answers_up() -> None:
    batch = collate([Encoded((BOS, A, B), (C, EOS)), Encoded((D,), (A, B, C, EOS))])
    assert batch.ids.tolist() == [[BOS, A, B, C, 0, 0], [0, 0, D, A, B, C]]
    assert batch.mask.tolist() == [[1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1]]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 3, 3], [0, 0, 0, 1, 2, 3]]
    assert batch.labels.tolist() == [[C, EOS, -100, -100], [A, B, C, EOS]]
    moved = batch.to("meta")
    assert isinstance(moved, Batch)
    assert {moved.ids.device.type, moved.mask.device.type, moved.labels.device.type} == {"meta"}


pairs = st.builds(
    Encoded,
    st.lists(st.integers(0, 7), min_size=1, max_size=6).map(tuple),
    st.lists(st.integers(0, 7), min_size=1, max_size=6).map(tuple),
)


def alone(pair: Encoded) -> tuple[float, torch.Tensor]:
    """The summed log-probability of an answer, and the states that lead to it, from a plain pass over all logits."""
    tokens = torch.tensor([pair.prompt + pair.answer])
    with torch.no_grad():
        output = model()(input_ids=tokens, output_hidden_states=True)
    first = len(pair.prompt) - 1
    places = output.logits[0, first:-1].log_softmax(-1)
    return float(places.gather(1, tokens[0, first + 1 :, None]).sum()), output.hidden_states[1][0, first:-1]


@settings(max_examples=30, deadline=None)
@given(st.lists(pairs, min_size=1, max_size=5), st.integers(1, 3))
def test_batches_say_what_each_answer_says_alone(encoded: list[Encoded], size: int) -> None:
    expected = [alone(pair)[0] for pair in encoded]
    assert log_probs(model(), encoded, size=size).tolist() == pytest.approx(expected, abs=1e-4)
    tokens = sum(len(pair.answer) for pair in encoded)
    assert nll(model(), encoded, size=size) == pytest.approx(-sum(expected) / tokens, abs=1e-4)


def test_logits_and_hidden_states_are_those_that_predict_the_answer() -> None:
    encoded = [Encoded((BOS, A, B), (C, EOS)), Encoded((D,), (A, B, C, EOS))]
    reference = torch.tensor([1.0, 2.0])
    found = answers(model(), collate(encoded), layer=0, reference=reference)
    assert found.logits.shape == (2, 4, len(WORDS))
    assert found.reference is reference
    assert found.hidden is not None
    for row, pair in enumerate(encoded):
        torch.testing.assert_close(found.hidden[row, : len(pair.answer)], alone(pair)[1])
    assert answers(model(), collate(encoded)).hidden is None
