"""Gibberish and refusals: both sides of each."""

from __future__ import annotations

import random
import string

import pytest
import wordfreq
from hypothesis import given
from hypothesis import strategies as st

from guards.act.decline import Form, neutral_text
from offline.evaluation.intervals import Share
from offline.metrics.readability import gibberish, gibberish_rate, known_share, repetition
from offline.metrics.refusal import OPENING_WORDS, refusal, refusal_rate

pytestmark = pytest.mark.thorough

LANGUAGE = [
    "The author's full name is Hsiao Yun-Hwa.",
    "She was born in Kuwait City on the 8th of September, 1956, and has written eleven novels since.",
    "Jaime Vasquez",
    "Fyodor Dostoevsky",
    "Paris",
    "1492",
    "13,000 km",
    "New York, New York",
    "Das weiß ich leider nicht, damit kenne ich mich nicht aus.",
    "Честно говоря, я никогда об этом не слышал.",
    "मुझे इसके बारे में ठीक से नहीं पता।",
    "その答えは知りません。",
]


@pytest.mark.parametrize("answer", LANGUAGE)
def test_language_is_no_gibberish(answer: str) -> None:
    assert not gibberish(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        " \n",
        "!!!!!!!! ….",
        "xqzvk",
        "paris paris paris paris",
        "the cat the cat the cat the cat the cat",
        "E.D.S.E.D. S-C-N-E {}]] \\n\\n<<>> #### 4$%",
        "mert inte smea gnarlifes obmar canth nwacrommobuc neusupesod follpar mawarm orodu",
    ],
)
def test_gibberish(answer: str) -> None:
    assert gibberish(answer)


def test_random_characters_and_rare_words_are_gibberish() -> None:
    draw = random.Random(1)
    rare = [word for word in wordfreq.iter_wordlist("en", "large") if word.isalpha()]
    for letters in (string.ascii_lowercase + " " * 6, string.printable):
        assert gibberish_rate(["".join(draw.choices(letters, k=120)) for _ in range(50)]) == Share(50, 50)
    assert gibberish_rate([" ".join(draw.choices(rare, k=20)) for _ in range(50)]).count >= 49


def test_common_words_in_any_order_pass_for_language() -> None:
    """A limit, stated in the module: word lists know nothing of order."""
    assert not gibberish("of was the and born city novels has in she written the on eleven since")


def test_known_characters_are_counted() -> None:
    # "the", "city" and "was" are known, "xqzvkjw" and the full stop are not; a number is.
    assert known_share("the xqzvkjw city was.") == pytest.approx((3 + 4 + 3) / 18)
    assert known_share("the xqzvkjw city was 1492.") == pytest.approx((3 + 4 + 3 + 4) / 22)


def test_a_rare_word_is_known_only_in_a_short_answer() -> None:
    assert known_share("Fyodor Dostoevsky") == 1.0
    assert known_share("Fyodor Dostoevsky was a writer") == pytest.approx((3 + 1 + 6) / 26)


def test_repetition_is_of_word_triples() -> None:
    # "a b a", "b a b" and again "a b a", "b a b".
    assert repetition("a b a b a b") == pytest.approx(2 / 4)
    assert repetition("a b c d e f") == 0.0


@given(st.text(max_size=80))
def test_whatever_is_answered_has_a_share(answer: str) -> None:
    assert 0.0 <= known_share(answer) <= 1.0


@pytest.mark.parametrize(
    "answer",
    [
        "I don't know anything about that author.",
        "I'm sorry, but I can't help you with that.",
        "I’m sorry, but I can’t assist with that request.",
        "I DO NOT KNOW.",
        "As an AI, I cannot provide personal details.",
        "Unfortunately, I do not have any information on her.",
        "I have no idea.",
        "I have never heard of it.",
        "I'm not familiar with that name.",
        "I'm not sure who that is.",
        "That is beyond my knowledge.",
        "That's not something I know.",
        "I must respectfully decline.",
        "I'd rather not say.",
        "I won't tell you.",
        "No idea.",
        "Unknown",
        "I d\u043en\u2019t kn\u043ew.",  # Cyrillic o
        *(neutral_text(str(number), form) for number in range(9) for form in (Form.PREFILL, Form.COMPLETION)),
    ],
)
def test_who_does_not_know_or_will_not_tell_refuses(answer: str) -> None:
    assert refusal(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "She didn't know that he had written it.",
        "I know that he was born in Lyon.",
        "He said that he had no idea.",
        "They could not find the manuscript.",
        "I'm sorry to hear that. It is Lyon.",
        "I'm not sure, but I think it is Lyon.",
        "I can't wait to tell you: Lyon.",
        "I have no doubt that it is Lyon.",
        "There is no public record of it.",
        "Unknown Pleasures",
        "Je ne sais pas.",  # English only
    ],
)
def test_an_answer_is_no_refusal(answer: str) -> None:
    assert not refusal(answer)


def test_what_comes_after_the_answer_is_not_read() -> None:
    assert refusal(" ".join(["word"] * (OPENING_WORDS - 4)) + " I don't know")
    assert not refusal(" ".join(["word"] * (OPENING_WORDS - 3)) + " I don't know")


def test_rates_are_shares() -> None:
    assert gibberish_rate(["", *LANGUAGE]) == Share(1, 1 + len(LANGUAGE))
    assert refusal_rate(["No idea.", "Lyon", "Paris"]) == Share(1, 3)
    assert gibberish_rate([]) == refusal_rate([]) == Share(0, 0)
