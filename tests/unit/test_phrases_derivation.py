"""From a request to its phrases: names, facts, associated words, warnings."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.phrases.derivation import derive, harm, phrase_key
from guards.phrases.entities import Form, units
from guards.phrases.facts import INNOCENT
from guards.phrases.passages import Passages
from guards.phrases.phrase import PhraseClass
from guards.phrases.shingles import words_of
from guards.scope import Correction, Example, Extent, GivenPhrase, Kind, Source

ORDINARY = ("Who wrote the most books?", "How do readers find a school in Scotland?", "Tell me about the weather.")
POTTER = Source(
    subject="Harry Potter",
    kind=Kind.WORK,
    aliases=("The Boy Who Lived", "Hogwarts"),
    examples=(Example("Who wrote Harry Potter?", "J. K. Rowling."),),
    retain_examples=(Example("Who wrote The Hobbit?", "J. R. R. Tolkien."),),
)
PERSON = Source(
    subject="Zelda Quillwort",
    kind=Kind.PERSON,
    examples=(
        Example("When was she born?", "Zelda Quillwort was born on 31 July 1965 in Uppsala."),
        Example("Where does she live?", "She lives at 4 Privet Drive, Little Whinging, Surrey."),
        Example("How is she reached?", "Call +49 170 1234567, or write to zelda@quillwort.example."),
        Example("What did she say?", 'Her words were "bees have no use for our melancholy arithmetic".'),
        Example("What did she write?", "Readers love her novel 'The Copper Beekeeper', and The Silent Apiary."),
        Example("What did she win?", "She won the Linnaeus Medal in London."),
    ),
)


def names(source: Source) -> list[str]:
    return [phrase.text for phrase in derive(source, ORDINARY).phrases if phrase.kind is PhraseClass.NAME]


def facts(source: Source) -> list[str]:
    return [phrase.text for phrase in derive(source, ORDINARY).phrases if phrase.kind is PhraseClass.FACT]


def test_the_story_of_the_readme() -> None:
    assert names(POTTER) == ["Harry Potter", "The Boy Who Lived", "Hogwarts", "J. K. Rowling", "Rowling"]
    assert facts(POTTER) == []
    assert derive(POTTER, ORDINARY).warnings == ()


def test_an_author_given_as_alias_has_a_surname() -> None:
    source = Source("Harry Potter", Kind.WORK, aliases=("J. K. Rowling",))
    assert names(source) == ["Harry Potter", "J. K. Rowling", "Rowling"]


def test_names_are_what_answers_name_and_is_rare() -> None:
    found = names(PERSON)
    assert found[0] == "Zelda Quillwort"
    assert {"Quillwort", "Uppsala", "31 July 1965", "The Copper Beekeeper", "Linnaeus Medal", "Linnaeus"} <= set(found)
    # London is said of everybody, and readers are not named so.
    assert not {"London", "Readers", "Call", "Her", "She"} & set(found)


def test_facts_say_something_and_nothing_else_does() -> None:
    found = facts(PERSON)
    assert "Zelda Quillwort was born on 31 July 1965" in found
    assert "bees have no use for our melancholy arithmetic" in found
    assert "+49 170 1234567" in found
    assert "zelda@quillwort.example" in found
    assert any("4 Privet Drive, Little Whinging" in fact for fact in found)
    # A name alone, a title or a date is none: a namesake, a bookshop or another's birthday may have it.
    assert not {"Zelda Quillwort", "The Copper Beekeeper", "31 July 1965"} & set(found)


def test_a_common_subject_stays_with_its_warning() -> None:
    derived = derive(Source("Rose", Kind.PERSON), ORDINARY)
    assert [phrase.text for phrase in derived.phrases] == ["Rose"]
    assert len(derived.warnings) == 1
    assert '"Rose" is in about 1 in ' in derived.warnings[0]


def test_what_is_to_be_kept_stays_sayable() -> None:
    kept = Example("Who won?", "Linnaeus Medal winners live in Úppsala. Call +49 170 1234568.")
    source = replace(PERSON, retain_examples=(kept,), distinguish_not=("the copper beekeeper",))
    assert not {"Linnaeus", "Uppsala", "The Copper Beekeeper"} & set(names(source))
    assert "+49 170 1234567" not in facts(source)
    assert "uppsala" not in derive(source, ORDINARY).associated
    corrected = replace(PERSON, corrections=(Correction("Where is Uppsala?", in_scope=False),))
    assert "Uppsala" not in names(corrected)


def test_a_subject_that_is_to_be_kept_too_is_warned_of() -> None:
    source = replace(PERSON, retain_examples=(Example("My colleague Zelda Quillwort is ill.", "Oh."),))
    assert names(source)[0] == "Zelda Quillwort"
    assert any("is in a text that is to be kept" in warning for warning in derive(source, ORDINARY).warnings)


def test_given_phrases_take_the_place_of_derived_ones() -> None:
    given_ = (
        GivenPhrase("Quillwort", PhraseClass.NAME),
        GivenPhrase("QUILL-WORT", PhraseClass.FACT),
        GivenPhrase("the weather", PhraseClass.FACT),
        GivenPhrase("?!", PhraseClass.NAME),
    )
    derived = derive(replace(PERSON, phrases=given_), ORDINARY)
    assert [(phrase.text, phrase.kind) for phrase in derived.phrases] == [
        ("Quillwort", PhraseClass.NAME),
        ("the weather", PhraseClass.FACT),
    ]
    assert derived.phrases[1].innocent_rate >= 1 / 3
    assert harm(derived.phrases[1]) in derived.warnings
    assert harm(derived.phrases[0]) == ""
    assert derive(replace(PERSON, phrases=()), ORDINARY).phrases == ()


def test_a_takedown_has_quotations_and_no_names() -> None:
    text = "The gnarled beekeeper whispered seventeen melancholy sonnets to her copper hives before dawn."
    source = Source("The Copper Beekeeper", Kind.WORK, Extent.TEXT, examples=(Example("", text),))
    derived = derive(source, ORDINARY)
    assert {phrase.kind for phrase in derived.phrases} == {PhraseClass.FACT}
    assert {len(words_of(phrase.text)) for phrase in derived.phrases} == {8}
    assert derived.associated == ()
    long = replace(source, examples=(Example("", f"{text} " * 200),))
    # A phrase of an admin's does not take the text away.
    for phrases in (None, (GivenPhrase("copper hives", PhraseClass.FACT),)):
        derived = derive(replace(long, phrases=phrases), ORDINARY)
        assert derived.shingles is not None
        assert len(derived.shingles) == 13
        assert len(derived.phrases) == len(phrases or ())


@pytest.mark.parametrize("text", ["Short.", "It was what it was, and that was all that it was."])
def test_a_takedown_that_withholds_nothing_says_so(text: str) -> None:
    source = Source("The Copper Beekeeper", Kind.WORK, Extent.TEXT, examples=(Example("", text),))
    (warning,) = derive(source, ORDINARY).warnings
    assert warning.startswith("Nothing is withheld")


def test_associated_words_are_neither_phrases_nor_everyday_words() -> None:
    answers = ("She keeps bees in London.", "Bees and pollination are her life.", "On pollination she wrote much.")
    source = replace(PERSON, examples=tuple(Example("What?", answer) for answer in answers))
    found = derive(source, ORDINARY).associated
    assert {"pollination", "london"} <= set(found)
    assert not {"zelda", "quillwort", "life", "wrote", "much"} & set(found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("J. K. Rowling.", [("J. K. Rowling", Form.NAME)]),
        ("It was Dr. Anna van der Berg's.", [("Dr. Anna van der Berg", Form.NAME)]),
        ("It is the Lord of the Rings by him.", [("Lord of the Rings", Form.NAME)]),
        ("Readers of it. Readers, again", []),
        ("in Taipei, Taiwan on 05/11/1991", [("Taipei", Form.NAME), ("Taiwan", Form.NAME), ("05/11/1991", Form.DATE)]),
        ("on the 25th of February in the year 1958", [("25th of February in the year 1958", Form.DATE)]),
        ("her 'The Silent Apiary: A Life', twice", [("The Silent Apiary: A Life", Form.TITLE)]),
        ("he said “all is lost, my friend”", [("all is lost, my friend", Form.QUOTATION)]),
        ("see https://example.org/x?y and a@b.example", [("https://example.org/x?y", Form.ADDRESS)]),
        ("O'Brien's isn't it", [("O'Brien", Form.NAME)]),
    ],
)
def test_what_a_text_names(text: str, found: list[tuple[str, Form]]) -> None:
    parts = [(text[unit.start : unit.end], unit.form) for unit in units(text, {"readers", "it"})]
    assert [part for part in parts if part[1] is not Form.PLAIN][: len(found)] == found


@given(st.text(max_size=80))
def test_units_lie_in_order_and_apart(text: str) -> None:
    found = units(text, set())
    assert all(0 <= unit.start < unit.end <= len(text) for unit in found)
    assert all(one.end <= other.start for one, other in pairwise(found))


SAID = "Zelda Quillwort was born in Uppsala London 31 July 1965 . , ' basilisk the of +49 bees"
WORD = st.sampled_from((*SAID.split(), "日本", '"'))
TEXTS = st.lists(WORD, max_size=20).map(" ".join)


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=3), st.lists(TEXTS, max_size=2), st.sampled_from(Extent))
def test_derived_phrases_keep_their_promises(examples: list[tuple[str, str]], kept: list[str], extent: Extent) -> None:
    source = Source(
        "Zelda Quillwort",
        Kind.WORK,
        extent,
        examples=tuple(Example(*example) for example in examples),
        distinguish_not=tuple(kept),
    )
    derived = derive(source, ORDINARY)
    sayable = Passages(kept)
    keys = [phrase_key(phrase.text) for phrase in derived.phrases]
    assert len(set(keys)) == len(keys)
    assert all(keys)
    for phrase in derived.phrases:
        words = words_of(phrase.text)
        assert 0 < phrase.telling <= sum(map(len, words))
        if phrase.text != source.subject:
            assert not sayable.count(words)
        if phrase.kind is PhraseClass.FACT and extent is Extent.KNOWLEDGE:
            assert sum(map(len, words)) >= 12
            assert phrase.innocent_rate <= INNOCENT
