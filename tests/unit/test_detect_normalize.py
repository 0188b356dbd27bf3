"""Folding undoes what hides a name, and every folded place leads back to the original."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from guards.detect.normalize import normalize
from guards.detect.words import Words

TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60) | st.text(
    alphabet=" \t\n\x00aZé\u0301\u200b\u200dПр가각\u1100\u1161ﬁ½İßΑ", max_size=40
)


@pytest.mark.parametrize(
    "disguised",
    [
        "Harry Potter",
        "HARRY  POTTER",
        "Harry\u00a0Potter",
        "Harry\n\tPotter ",
        "Ha\u200brry Pot\u00adter",
        "Ｈａｒｒｙ Ｐｏｔｔｅｒ",
        "Наrrу Роttеr",
        "Hárry Pötter",
        "Ha\u0301rry Potter",
        "𝓗𝓪𝓻𝓻𝔂 𝐏𝐨𝐭𝐭𝐞𝐫",
        "Harry\x00 Pot\x07ter",
    ],
)
def test_disguises_of_a_name_fold_to_it(disguised: str) -> None:
    assert normalize(disguised).text == "harry potter"


@pytest.mark.parametrize(
    "mark", "\ufe0f\U000e0100\u3164\u115f\uffa0\u180b\u17b4\u034f\u0483\u05b0\u064b\u1ab0\u1dc4\u20d0\u20e3\ufe20"
)
def test_so_do_marks_that_say_nothing(mark: str) -> None:
    assert normalize(mark.join("Harry Potter") + mark).text == "harry potter"


def test_a_span_leads_back_to_what_stands_there() -> None:
    text = "Who wrote\u200b  Hа\u0301rry\u200b Potter?"
    normalized = normalize(text)
    place = normalized.text.index("harry potter")
    start, end = normalized.original_span(place, place + len("harry potter"))
    assert text[start:end] == "Hа\u0301rry\u200b Potter"


@given(TEXTS)
def test_every_span_maps_to_a_span_of_the_original(text: str) -> None:
    normalized = normalize(text)
    previous = 0
    for place in range(len(normalized.text)):
        start, end = normalized.original_span(place, place + 1)
        assert previous <= start < end <= len(text)
        previous = start
    if normalized.text:
        assert normalized.original_span(0, len(normalized.text))[1] <= len(text)


@given(TEXTS)
def test_blanks_are_single_and_nothing_invisible_is_left(text: str) -> None:
    folded = normalize(text).text
    assert folded == folded.strip(" ")
    assert "  " not in folded
    assert not [character for character in folded if unicodedata.category(character) in {"Cc", "Cf"}]


@given(TEXTS)
@example("\u1100\x08\u1161")
def test_folding_twice_changes_nothing(text: str) -> None:
    once = normalize(text).text
    assert normalize(once).text == once


@given(st.text(alphabet=st.characters(max_codepoint=127), max_size=60))
def test_the_fast_path_for_ascii_agrees_with_the_general_one(text: str) -> None:
    fast, general = normalize(text), normalize(f"{text}x\u00e9")
    if text and "!" <= text[-1] <= "~":
        assert general.text == f"{fast.text}xe"
        places = [place for place, character in enumerate(fast.text) if character != " "]
        assert [fast.original_span(i, i + 1) for i in places] == [general.original_span(i, i + 1) for i in places]


@pytest.mark.parametrize("between", ["\u0301\u0323", "\u200d", "\x08", "\u20dd\u0327\x08\u200b"])
def test_any_number_of_marks_and_unseen_characters_is_folded_at_once(between: str) -> None:
    text = f"Rowe{between * 100_000}na"  # to put so many marks in order would take minutes
    found = normalize(text)
    assert found.text == "rowena"
    assert found.original_span(4, 6) == (len(text) - 2, len(text))
    assert Words(text).other_scripts() == {}
