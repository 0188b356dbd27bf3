"""Names are found as words, whatever their number, and no longer once removed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.detect.lexical import Lexicon
from guards.detect.misspelling import SHORTEST, Neighbourhood, Typed, misspells, tolerance
from guards.detect.words import Words
from offline.detector.background import background_prompts, read_data

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


def test_many_names_stay_in_few_levels() -> None:
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


SLIPS = {
    "drop": lambda word, place: word[:place] + word[place + 1 :],
    "double": lambda word, place: word[: place + 1] + word[place:],
    "swap": lambda word, place: word[:place] + word[place + 1] + word[place] + word[place + 2 :],
    "change": lambda word, place: word[:place] + "q" + word[place + 1 :],
}
RARE_WORDS = ("zeldaline", "quillfeather", "oyelaran", "vandermolen", "wyszkowski", "tanizawa", "qwortlebee")


@given(st.lists(st.sampled_from(RARE_WORDS), min_size=1, max_size=4, unique=True), st.data())
def test_a_name_is_found_with_a_slip_in_each_of_its_words(name: list[str], data: st.DataObject) -> None:
    lexicon = Lexicon()
    lexicon.add("r1", [" ".join(name)])
    lexicon.add("r2", ["Harry Potter"])
    typed = [
        SLIPS[data.draw(st.sampled_from(sorted(SLIPS)))](word, data.draw(st.integers(1, len(word) - 2)))
        for word in name
    ]
    assert _found(lexicon, f"who is {' '.join(typed)} then") == {("r1", " ".join(typed))}


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        # Every word mistyped, one into a word that there is.
        ("Torben Vandermolen", "Toben Vaandermolen"),
        ("Basil Mahfouz Al-Kuwaiti", "Bail Mahfuoz Al-Kuwaiti"),
        # The rarest word too short to be known misspelt.
        ("Emre Obrador", "Erme Obraodr"),
        ("Yara Ferreira-Lobo", "Yra Ferreirra-Lobo"),
        # Beside a word that tells who is meant, one of a million.
        ("Lorcan Castellane", "Loran Castellane"),
        # A hyphen or an apostrophe gone, moved or too many.
        ("Jean-Luc Al-Kuwaiti", "JeanLuc AlK-uwaiti"),
        ("Basil Mahfouz Al-Kuwaiti", "Basil Mahfouz AlKuwaiti"),
        ("Basil Mahfouz Al-Kuwaiti", "Basil Mahfouz AlK-uwaiti"),
        ("Wei-Jun Vandermolen", "WeiJun Vandremolen"),
        ("Lorcan O'Rafferty", "Loracn OR'afferty"),
        ("Lorcan O'Rafferty", "Lorcan ORafferty"),
        ("Taeho Brunell", "Tae-ho Brunell"),
    ],
)
def test_a_name_is_found_mistyped_through_and_through(name: str, typed: str) -> None:
    lexicon = Lexicon()
    lexicon.add("r1", [name])
    text = f"Where was {typed} born?"
    assert ("r1", typed) in _found(lexicon, text)
    assert _found(lexicon, text.lower()) == {("r1", typed.lower())}
    assert _found(lexicon, f"I met {typed}'s aunt, didn't I?") >= {("r1", typed)}


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("Karin Lindqvist", "Karen Lindqvist"),  # a sister
        ("Torben Vandermolen", "Toren Vandermolen"),
        ("Torben Vandermolen", "Torben Vanderpoole"),
        ("Maria Obrador", "Marie Orador"),  # no word left that tells who is meant
        ("Harry Potter", "Harrry Porter"),
        ("Harry Potter", "Harrry Pottery"),
        ("Robin Williams", "Robin William's"),
        ("Jo-Ann", "Joann"),
        ("Rose Ann", "Rose-Anne"),
    ],
)
def test_somebody_of_nearly_the_same_name_is_somebody_else(name: str, typed: str) -> None:
    lexicon = Lexicon()
    lexicon.add("r1", [name])
    assert lexicon.find(Words(f"Where was {typed} born?")) == []


def test_a_word_of_another_name_is_no_slip() -> None:
    lexicon = Lexicon()
    lexicon.add("r1", ["Lorcan Castellane"])
    assert _found(lexicon, "Is Lorcann Casteellane in?") == {("r1", "Lorcann Casteellane")}
    lexicon.add("r2", ["Lorcann Quillfeather"])
    assert _found(lexicon, "Is Lorcann Casteellane in?") == set()


MISSPELT = ["Harry Potter", "J. K. Rowling", "Hogwarts", "Zelda Quillfeather", "Rose Ann", "Hsiao Yun-Hwa"]


@pytest.mark.parametrize(
    ("text", "typed", "alias"),
    [
        ("Who wrote Hary Potter?", "Hary Potter", "Harry Potter"),
        ("who wrote harry poter", "harry poter", "Harry Potter"),
        ("who wrote Harry Pottre?", "Harry Pottre", "Harry Potter"),
        ("who wrote Hary Poter?", "Hary Poter", "Harry Potter"),
        ("who wrote HARRRY POTTER", "HARRRY POTTER", "Harry Potter"),
        ("by J.K. Rowlling.", "J.K. Rowlling", "J. K. Rowling"),
        ("where is Hogwrats", "Hogwrats", "Hogwarts"),
        ("does Zelda Quilfeathr paint", "Zelda Quilfeathr", "Zelda Quillfeather"),
        ("a book by harrypoter", "harrypoter", "Harry Potter"),
        ("novels of Hisao Ynu-Hwa", "Hisao Ynu-Hwa", "Hsiao Yun-Hwa"),
        ("novels of Hsaio YuhnHwa", "Hsaio YuhnHwa", "Hsiao Yun-Hwa"),
    ],
)
def test_a_misspelt_name_is_found(text: str, typed: str, alias: str) -> None:
    lexicon = Lexicon()
    lexicon.add("r1", MISSPELT)
    (match,) = lexicon.find(Words(text))
    assert (text[match.start : match.end], match.alias) == (typed, alias)
    assert match.misspelt is not None
    assert 0.0 <= match.misspelt < 0.001


@pytest.mark.parametrize(
    "text",
    [
        "Harry Porter is an actor",  # another name
        "the Harry Putter golf club",
        "Hurry Potter, we are late",
        "Hary Poterr",  # three edits in all
        "Rosa Ann or Rose Anne",  # words too short to be misspelt
        "Larry Potter",
        "Zelda Quilfathr",  # three edits in one word
        "hogwar",
        "Hary. A poter",
        "K. Dowling and J. K. Bowling",
        "",
    ],
)
def test_another_word_or_name_is_no_misspelling(text: str) -> None:
    lexicon = Lexicon()
    lexicon.add("r1", MISSPELT)
    assert lexicon.find(Words(text)) == []


def test_a_name_that_is_spelt_right_is_not_found_misspelt_too() -> None:
    lexicon = Lexicon()
    lexicon.add("r1", ["Quillfeather"])
    lexicon.add("r2", ["Quillfeathers"])
    found = lexicon.find(Words("Is Quillfeather here?"))
    assert [(match.request_id, match.misspelt) for match in found] == [("r1", None)]
    lexicon.remove("r1")
    assert [match.request_id for match in lexicon.find(Words("Is Quillfeather here?"))] == ["r2"]


def test_no_ordinary_prompt_holds_a_misspelt_name() -> None:
    lexicon = Lexicon()
    pools = read_data("entities_training")
    for first in pools["given"]:
        for last in pools["family"]:
            lexicon.add(f"{first} {last}", [f"{first} {last}", last])
    found = [match for prompt in background_prompts() for match in lexicon.find(Words(prompt))]
    assert [match for match in found if match.misspelt is not None] == []


LETTERS = st.text("abc", min_size=3, max_size=11)


@given(st.lists(LETTERS, max_size=30, unique=True), LETTERS)
def test_every_word_near_enough_is_found(words: list[str], typed: str) -> None:
    near = Neighbourhood(words).near(Typed([typed]))
    assert sorted(near.get(typed, [])) == sorted(word for word in words if tolerance(word) and misspells(typed, word))


def test_a_word_cut_off_is_told_by_its_length_too() -> None:
    letters = "quillfeatherstonehaugh"
    words = [letters[:length] for length in range(5, len(letters) + 1)]
    neighbourhood = Neighbourhood(words)
    for length in range(3, len(letters) + 1):
        typed = letters[:length]
        near = neighbourhood.near(Typed([typed])).get(typed, [])
        assert near == [word for word in words if misspells(typed, word)]


@given(st.text(min_size=4, max_size=14), st.integers(0, 13), st.sampled_from(["drop", "double", "swap", "change"]))
def test_one_edit_is_always_near(word: str, place: int, edit: str) -> None:
    place %= len(word)
    typed = {
        "drop": word[:place] + word[place + 1 :],
        "double": word[: place + 1] + word[place:],
        "swap": word[:place] + word[place + 1 : place + 2] + word[place] + word[place + 2 :],
        "change": word[:place] + "x" + word[place + 1 :],
    }[edit]
    expected = {typed: [word]} if tolerance(word) and len(typed) >= SHORTEST else {}
    assert Neighbourhood([word]).near(Typed([typed])) == expected
