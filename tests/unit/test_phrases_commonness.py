"""How soon a phrase is known, and how often it is innocent."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.phrases.commonness import ACCEPTABLE, assessed, innocent_rate, telling, told
from guards.phrases.passages import Passages
from guards.phrases.phrase import PhraseClass
from guards.phrases.shingles import words_of

NOTHING = Passages(())
WORDS = st.lists(
    st.sampled_from("the of Rowling Harry chamber secrets 31 July 1965 müller Жук 日本 quidditch a x7 in".split()),  # noqa: SIM905
    min_size=1,
    max_size=6,
).map(" ".join)
PHRASES = st.one_of(WORDS, st.text(max_size=30), st.text("0123 456x", max_size=900))


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("Rowling", "Rowli"),
        ("Hogwarts", "Hogwa"),
        ("J. K. Rowling", "J. K. Ro"),
        ("Harry Potter", "Harry Pot"),
        ("The Chamber of Secrets", "The Chamber of Sec"),
        ("31 July 1965", "31 July 1965"),
        ("Sanderson", "Sanderso"),
        ("Ron", "Ron"),
        ("London", "London"),
    ],
)
def test_a_phrase_is_known_from_where_nothing_else_begins_so(text: str, known: str) -> None:
    found = told(assessed(text, PhraseClass.NAME, NOTHING))
    assert found.startswith(known)
    assert len(found) <= len(known) + 2


def test_a_statement_is_not_told_before_its_last_word() -> None:
    phrase = assessed("Zaphod Beeblebrox was born on Betelgeuse", PhraseClass.FACT, NOTHING)
    assert "Zaphod Beeblebrox was born on Be" in told(phrase)
    assert told(assessed(phrase.text, PhraseClass.NAME, NOTHING)) in "Zaphod Beeblebrox"


def test_a_quotation_is_known_from_its_half() -> None:
    phrase = assessed("the boy who lived under the stairs once", PhraseClass.FACT, NOTHING, quoted=True)
    assert phrase.telling == math.ceil(sum(map(len, words_of(phrase.text))) / 2)


@given(PHRASES, st.sampled_from(PhraseClass), st.booleans())
def test_what_is_known_of_a_phrase_is_within_its_bounds(text: str, kind: PhraseClass, quoted: bool) -> None:
    phrase = assessed(text, kind, NOTHING, quoted=quoted)
    words = words_of(text)
    letters = "".join(words)
    assert min(len(letters), 3) <= phrase.telling <= len(letters) or quoted
    assert 0 <= phrase.innocent_rate <= 1
    if not quoted and len(letters) < 6:
        assert phrase.telling == len(letters)
    assert text.startswith(told(phrase))
    if not quoted and kind is PhraseClass.NAME:
        assert phrase.telling == telling(" ".join(words))


@given(st.text(st.sampled_from("qxzjvkw"), min_size=6, max_size=20))
def test_a_rare_word_is_known_from_its_stem_at_the_latest(word: str) -> None:
    assert telling(word) <= math.ceil(0.6 * len(word))


def test_rates_are_in_the_right_order() -> None:
    rates = [
        innocent_rate(text, NOTHING)
        for text in ("London", "Rose", "Rowling", "Taipei", "J. K. Rowling", "Zaphod Beeblebrox", "4929 1234 5678 9010")
    ]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 1e-2
    assert rates[-1] < 1e-7


def test_words_that_contain_a_long_word_count() -> None:
    # `growling` and `prowling` contain it, and so would be taken for it.
    assert innocent_rate("rowling", NOTHING) > 1.5 * 200 * 1.78e-6


def test_numbers_count_with_those_that_look_like_them() -> None:
    # Any date of that month within one digit is taken for it.
    assert 1e-6 < innocent_rate("31 July 1965", NOTHING) < 1e-3
    assert innocent_rate("account 1234", NOTHING) > innocent_rate("account 1234 5678 9012", NOTHING)


def test_the_background_counts_as_it_would_be_matched() -> None:
    background = Passages(("We grow zelkovas.", "The Zel-ko va!", "nothing", "Ron's", "front"))
    assert innocent_rate("zelkova", background) == 0.4
    assert innocent_rate("ron", background) >= 0.2
    assert Passages(("x ron", "front", "r on")).count(["ron"]) == 1


def test_a_common_name_is_more_than_acceptable() -> None:
    assert innocent_rate("Rose", NOTHING) > ACCEPTABLE[PhraseClass.NAME]
    assert innocent_rate("Harry Potter", NOTHING) < ACCEPTABLE[PhraseClass.NAME]
