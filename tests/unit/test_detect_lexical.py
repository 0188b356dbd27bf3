"""Names are found as words, whatever their number, and no longer once removed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.detect.lexical import Lexicon
from guards.detect.words import Words

WORDS = st.sampled_from(["ann", "anna", "bo", "b", "o", "cy"])
PHRASES = st.lists(WORDS, min_size=1, max_size=3).map(" ".join)


def _found(lexicon: Lexicon, text: str) -> set[tuple[str, str]]:
    return {(match.request_id, text[match.start : match.end]) for match in lexicon.find(Words(text))}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Who wrote Harry Potter?", "Harry Potter"),
        ("who wrote HARRY-POTTER", "HARRY-POTTER"),
        ("Harry Potter's owl", "Harry Potter"),
        ("by J.K. Rowling.", "J.K. Rowling"),
        ("by JK Rowling.", "JK Rowling"),
        ("by j k  rowling", "j k  rowling"),
        ("Наrrу\u200b Роttеr", "Наrrу\u200b Роttеr"),
    ],
)
def test_a_name_is_found_however_it_is_written(text: str, name: str) -> None:
    lexicon = Lexicon()
    lexicon.add("r1", ["Harry Potter", "J. K. Rowling"])
    assert _found(lexicon, text) == {("r1", name)}


@pytest.mark.parametrize("text", ["Harry Potterville", "Mcharry Potter", "Potter Harry", "Harry. A potter", ""])
def test_parts_of_words_and_other_orders_are_not_the_name(text: str) -> None:
    lexicon = Lexicon()
    lexicon.add("r1", ["Harry Potter"])
    assert _found(lexicon, text) == set()


def test_a_name_of_two_requests_is_found_for_both_until_removed() -> None:
    lexicon = Lexicon()
    lexicon.add("r1", ["Rose"])
    lexicon.add("r2", ["Rose", "Lily"])
    assert _found(lexicon, "Rose") == {("r1", "Rose"), ("r2", "Rose")}
    lexicon.remove("r1")
    assert _found(lexicon, "Rose") == {("r2", "Rose")}
    lexicon.add("r2", ["Lily"])
    assert _found(lexicon, "Rose or Lily") == {("r2", "Lily")}
    lexicon.remove("r2")
    lexicon.remove("unknown")
    assert _found(lexicon, "Rose or Lily") == set()


@given(
    st.lists(st.tuples(st.sampled_from("pqr"), st.lists(PHRASES, max_size=4), st.booleans()), max_size=12),
    st.lists(WORDS, max_size=8).map(" ".join),
)
def test_it_finds_what_a_plain_search_finds(changes: list[tuple[str, list[str], bool]], text: str) -> None:
    lexicon = Lexicon()
    names: dict[str, set[str]] = {}
    for request_id, phrases, added in changes:
        if added:
            lexicon.add(request_id, phrases)
            names[request_id] = set(phrases)
        else:
            lexicon.remove(request_id)
            names.pop(request_id, None)
    # `b o` is also found as `bo`: initials may be written together.
    expected = {
        (request_id, written)
        for request_id, phrases in names.items()
        for phrase in phrases
        for written in {phrase, phrase.replace("b o b", "bob").replace("b o", "bo"), phrase.replace("o b o", "obo")}
        if f" {written} " in f" {text} "
    }
    found = _found(lexicon, text)
    plain = {(r, w) for r, w in expected if w in names[r]}
    assert plain <= found
    assert {written for _, written in found} <= set(_runs(text))


def _runs(text: str) -> set[str]:
    words = text.split()
    return {" ".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1)}


def test_many_names_stay_in_few_automata() -> None:
    lexicon = Lexicon()
    for number in range(2_000):
        lexicon.add(f"r{number}", [f"person{number} surname{number % 7}"])
    assert _found(lexicon, "Is person1234 surname2 here, or person1 surname5?") == {("r1234", "person1234 surname2")}
    assert len(lexicon._levels) <= 8


@pytest.mark.parametrize("text", ["Who wrote harrypotter?", "#HarryPotter", "HARRY POTTER", "Harry\u200bPotter"])
def test_a_name_is_found_written_together(text: str) -> None:
    lexicon = Lexicon()
    lexicon.add("r1", ["Harry Potter"])
    assert [match.alias for match in lexicon.find(Words(text))] == ["Harry Potter"]
