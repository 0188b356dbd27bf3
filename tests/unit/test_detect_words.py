"""Words, where they stand, which are names, and how rare they are."""

from __future__ import annotations

from guards.detect.names import assess_aliases
from guards.detect.words import Words, listed_from, rarity, zipf


def test_words_know_their_place_in_the_original() -> None:
    text = "Who’s  “J.\u200b K. Rowling”?"
    words = Words(text)
    assert words.texts == ["who", "s", "j", "k", "rowling"]
    assert [text[start:end] for start, end in words.spans] == ["Who", "s", "J", "K", "Rowling"]


def test_scripts_without_blanks_are_split_by_character() -> None:
    assert Words("哈利波特ですか Harry").texts == ["哈", "利", "波", "特", "で", "す", "か", "harry"]


def test_names_are_capitals_inside_a_sentence_and_numbers() -> None:
    words = Words('When was Ada born? Maybe 1815. "Yes," said Byron.')
    names = [word for index, word in enumerate(words.texts) if words.name_like(index)]
    assert names == ["ada", "1815", "byron"]


def test_letters_that_look_like_digits_make_no_number() -> None:
    assert Words("Как зовут сову? Её зовут 11.").names() == ["11"]


def test_a_word_of_look_alikes_is_known_by_the_script_it_is_written_in() -> None:
    written = Words("Рон, Гарри, Ron, Roп, Ｒｏｎａ, Ñandú").other_scripts()
    assert written == {"poh": {"CYRILLIC"}}
    assert Words("Ron and Harry").other_scripts() == {}


def test_rarity_orders_words() -> None:
    assert rarity("the") == 0.0
    assert 0.0 < rarity("author") < rarity("wizard") < rarity("rowling") < rarity("xqzvtk") == 1.0


def test_the_words_listed_as_so_common_are_those() -> None:
    words = ["the", "straße", "potter", "quince", "qwortlebee", "12", ""]
    assert [word in listed_from(3.0) for word in words] == [zipf(word) >= 3.0 for word in words]
    assert {word for word in listed_from(5.0) if zipf(word) < 5.0} == set()


def test_compounds_are_told_by_the_places_of_their_words() -> None:
    words = Words("Is Jean-Luc O'Neill-Smith's aunt, didn't he say - well-known?")
    written = [" ".join(words.texts[each.start : each.stop]) for each in words.compounds()]
    assert written == ["jean luc", "o neill smith", "well known"]


def test_another_languages_common_words_are_not_rare() -> None:
    assert rarity("und") == 0.0


def test_names_of_ordinary_words_are_not_rare_and_distinctive_ones_are() -> None:
    names = ("Harry Potter", "J. K. Rowling", "Hogwarts", "Smith", "Paris", "Rose", "the author")
    rates = {alias.text: alias.innocent_rate for alias in assess_aliases(names, [])}
    assert all(rates[name] <= 0.001 for name in names[:3])
    assert all(rates[name] > 0.001 for name in names[3:])


def test_a_name_written_small_in_the_background_is_innocent_there() -> None:
    background = [Words("How do I prune a quillwort?"), Words("Tell me about Quillwort."), *[Words("Hi.")] * 8]
    (alias,) = assess_aliases(["Quillwort"], background)
    assert alias.innocent_rate == 0.1


def test_the_same_name_twice_counts_once_and_a_name_without_letters_not_at_all() -> None:
    aliases = assess_aliases(["J. K. Rowling", "j.k. rowling", "  ", "?!"], [])
    assert [alias.text for alias in aliases] == ["J. K. Rowling"]
