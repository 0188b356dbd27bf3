"""The default model's own vocabulary under restriction: any spelling of a phrase, cut into tokens at random."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from guards.act.restriction import restriction_xargs
from guards.engine.automaton import Automaton
from guards.engine.restriction import restriction_from_xargs
from guards.engine.vocabulary import Vocabulary, form_of, letters_of, read_vocabulary
from guards.phrases.phrase import Phrase, PhraseClass
from server.assets import model_directory
from server.settings import load_settings

if TYPE_CHECKING:
    import random

KEY = b"key"
TEXTS = ("J. K. Rowling", "Hogwarts", "Ron", "The Lord of the Rings", "Björk Guðmundsdóttir", "東京", "Анна Каренина")
PHRASES = [Phrase(text, PhraseClass.FACT, -(-len(letters_of(form_of(text))) * 3 // 5)) for text in TEXTS]
DISGUISES = (str, str.upper, str.lower, "-".join, "\u200b".join, " ".join, lambda text: text.replace("o", "о"))


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(model_directory(load_settings()))


@pytest.fixture(scope="module")
def vocabulary(tokenizer: Any) -> Vocabulary:
    return read_vocabulary(tokenizer)


@pytest.fixture(scope="module")
def automaton(vocabulary: Vocabulary) -> Automaton:
    args = restriction_from_xargs(restriction_xargs(PHRASES, [], 0.0, KEY), KEY)
    assert args is not None
    return Automaton(args, vocabulary)


@pytest.fixture(scope="module")
def by_bytes(vocabulary: Vocabulary) -> dict[bytes, int]:
    return {piece: token for token, piece in enumerate(vocabulary._pieces) if token not in vocabulary.special}


def written(text: str) -> list[str]:
    """The phrases whose pattern stands in a text, told from the text alone."""
    form = f" {' '.join(form_of(text).split())} "
    found = []
    for phrase in PHRASES:
        mine = form_of(phrase.text).strip()
        letters = letters_of(mine)
        if len(letters) >= 6:
            found += [mine] if letters[: phrase.telling] in letters_of(form) else []
        elif f" {mine} " in form or f" {' '.join(letters)} " in form:
            found.append(mine)
    return found


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(TEXTS), st.sampled_from(DISGUISES), st.sampled_from(["", " ", ", ", "x", "🎉"]))
    ),
    st.randoms(use_true_random=False),
)
def test_no_cut_of_a_phrase_into_tokens_passes(
    tokenizer: Any,
    automaton: Automaton,
    by_bytes: dict[bytes, int],
    parts: list[tuple[str, Any, str]],
    rng: random.Random,
) -> None:
    text = "".join(disguise(phrase) + border for phrase, disguise, border in parts).encode()
    always = set(automaton.always.tolist())
    state, answer, at = automaton.start([]), [], 0
    while at < len(text):
        end = rng.choice([end for end in range(at + 1, min(at + 16, len(text)) + 1) if text[at:end] in by_bytes])
        token, at = by_bytes[text[at:end]], end
        if token not in always and token not in automaton.banned(state):
            answer.append(token)
            state = automaton.advance(state, token)
    assert written(tokenizer.decode(answer)) == []


def test_ordinary_text_is_not_restricted(tokenizer: Any, automaton: Automaton) -> None:
    text = "The capital of France is Paris. A naïve ring of lords bought iron in Tokyo; they sat."
    always = set(automaton.always.tolist())
    state = automaton.start(tokenizer.encode("Tell me something."))
    for token in tokenizer.encode(text):
        assert token not in always
        assert token not in automaton.banned(state)
        state = automaton.advance(state, token)
