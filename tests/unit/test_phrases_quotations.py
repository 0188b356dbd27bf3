"""Verbatim runs of words: phrases of a short text, hashes of a long one."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.phrases.passages import Passages
from guards.phrases.phrase import PhraseClass
from guards.phrases.quotations import MOST_WORDS, quotations
from guards.phrases.shingles import RUN, hashes, words_of

NOTHING = Passages(())
RARE = [f"{first}{second}ibble" for first in "bdfgklmnprst" for second in ("a", "e", "o", "u", "ai", "oo")]


def prose(words: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [draw.choice(RARE if draw.random() < 0.4 else ["the", "of", "and", "that", "with"]) for _ in range(words)]


def test_a_hash_is_that_of_the_folded_words() -> None:
    words = words_of("The Bóy who-lived, under the STAIRS once; upon")
    assert words == ["the", "boy", "who", "lived", "under", "the", "stairs", "once", "upon"]
    expected = hashlib.blake2b(b"the boy who lived under the stairs once", digest_size=8).digest()
    assert hashes(words).tolist()[0] == int.from_bytes(expected, "little")
    assert len(hashes(words)) == 2
    assert hashes(words[:7]).tolist() == []
    assert hashes(words).dtype == np.uint64


@given(st.text())
def test_folded_words_stay_as_they_are(text: str) -> None:
    words = words_of(text)
    assert words_of(" ".join(words)) == words


@given(st.integers(RUN, 200), st.integers(0, 200), st.integers(0, 9))
def test_any_quotation_of_eleven_words_holds_a_phrase(length: int, start: int, seed: int) -> None:
    words = prose(length, seed)
    phrases, shingles = quotations([" ".join(words)], (), NOTHING)
    assert shingles is None
    assert all(phrase.kind is PhraseClass.FACT for phrase in phrases)
    quoted = words[min(start, max(0, length - 11)) :][:11]
    if len(quoted) == 11 and any(word in RARE for word in quoted[3:8]):
        assert any(phrase.text in " ".join(quoted) for phrase in phrases)


def test_a_long_text_is_known_by_the_hashes_of_all_its_runs() -> None:
    words = prose(MOST_WORDS + 1)
    phrases, shingles = quotations([" ".join(words)], (), NOTHING)
    assert phrases == ()
    assert shingles is not None
    assert shingles.dtype == np.uint64
    assert np.array_equal(shingles, np.unique(shingles))
    told = [any(word in RARE for word in words[start : start + RUN]) for start in range(len(words) - RUN + 1)]
    assert set(shingles.tolist()) == set(hashes(words)[np.array(told)].tolist())


@pytest.mark.parametrize("length", [200, MOST_WORDS + 200])
def test_what_is_to_be_kept_may_be_quoted(length: int) -> None:
    words = prose(length)
    kept = " ".join(words[40:100])
    phrases, shingles = quotations([" ".join(words)], [kept.upper()], NOTHING)
    assert not [phrase for phrase in phrases if phrase.text in kept]
    if shingles is not None:
        assert not np.isin(hashes(words_of(kept)), shingles).any()


def test_turns_of_phrase_and_short_texts_are_no_quotations() -> None:
    common = "one of the things that we can do about it and that is what it was for them"
    assert quotations([common, "J. K. Rowling"], (), NOTHING)[0] == ()
