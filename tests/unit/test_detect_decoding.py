"""What is hidden by an encoding is read, at its place in the original; ordinary text is left as it is."""

from __future__ import annotations

import random
import re
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from guards.detect.decoding import decodings
from guards.detect.words import Words, zipf
from offline.detector.background import background_prompts
from tests.examples import examples
from tests.fakes.disguises import DISGUISES, in_base64, leetspeak, rot13

# What normalising and the encoder's own tokenizer see through is not decoded.
SEEN_THROUGH = ("zero_width", "widely_spaced")
# Common words, from the prompts of which none may be decoded; none that is as common a word when it is disguised.
WORDS = sorted(
    {
        word
        for prompt in background_prompts()
        for word in re.findall(r"\b[a-z]{4,}\b", prompt)
        if zipf(word) >= 4.0 > 2.0 >= max(zipf(word[::-1]), zipf(rot13(word)))
    }
)
SENTENCES = st.lists(st.sampled_from(WORDS), min_size=4, max_size=14).map(
    lambda words: " ".join(words).capitalize() + "?"
)
# Of the forms, those in which each letter of the decoding has its own place.
BY_LETTER = ("look_alike", "full_width", "letters_apart", "leetspeak", "rot13", "backwards", "words_backwards")


def _letters(text: str) -> str:
    # 1 is I or l in leetspeak: "p14n0" may be "plano", which Spanish has more often.
    return "".join(Words(text).texts).replace("l", "i")


def _disguises(*left_out: str) -> list[str]:
    return [name for name in DISGUISES if name not in (*SEEN_THROUGH, *left_out)]


@pytest.mark.parametrize("disguise", _disguises())
@given(SENTENCES)
@examples(30)
def test_a_disguised_sentence_is_read(disguise: str, sentence: str) -> None:
    text = DISGUISES[disguise](sentence)
    # Leetspeak leaves a word without its letters as it is; of one rare word alone nobody can tell what it stands for.
    assume(sum(word not in text for word in sentence.split()) > 1)
    read = [_letters(each) for each in (text, *(found.text for found in decodings(text)))]
    assert any(_letters(sentence) in text for text in read)


@pytest.mark.parametrize("disguise", BY_LETTER)
@given(SENTENCES, st.sampled_from(WORDS))
@examples(20)
def test_each_letter_of_a_decoding_has_its_place_in_the_original(disguise: str, sentence: str, word: str) -> None:
    text = DISGUISES[disguise](f"{sentence} {word}")
    for found in decodings(text):
        for at, letter in enumerate(found.text):
            start, end = found.original_span(at, at + 1)
            assert 0 <= start < end <= len(text)
            if letter.isalpha() and disguise not in ("leetspeak", "look_alike", "full_width"):
                assert text[start:end] in (letter, rot13(letter))


@given(st.text(max_size=200), st.text(string.ascii_letters + string.digits + " +/=-.\n\\%&;#ux", max_size=400))
def test_any_text_can_be_read_and_every_span_lies_in_it(one: str, other: str) -> None:
    for text in (one, other, f"{other}{one}", in_base64(one), leetspeak(other)):
        found = decodings(text)
        assert len(found) <= 84 + 16
        assert sum(len(decoding.text) for decoding in found) <= 85 * len(text) + 2_000
        assert all(len(decoding.text) <= len(text) for decoding in found)
        for decoding in found:
            assert len(decoding.text) == len(decoding.starts) == len(decoding.ends)
            start, end = decoding.original_span(0, len(decoding.text))
            assert 0 <= start < end <= len(text)


@pytest.mark.parametrize(
    ("text", "decoded", "original"),
    [
        ("Who wrote Uneel Cbggre, please?", "Harry Potter", "Uneel Cbggre"),
        ("Who wrote H4rry P0tt3r, please?", "Harry Potter", "H4rry P0tt3r"),
        (r'{"q": "who wrote\nharry\n\u0050otter"}', "harry\nPotter", r"harry\n\u0050otter"),
        ("Who wrote Harry%20Potter?", "Harry Potter", "Harry%20Potter"),
        ("Who wrote &#00072;arry &#72arry?", "Harry Harry", "&#00072;arry &#72arry"),
        (r"Who wrote \u{000048}arry \U00000048arry \110arry %u0048arry?", "Harry Harry Harry Harry", r"\u{000048}arry"),
        ("Who wrote &#72;arry&nbsp;Potter?", "Harry\xa0Potter", "&#72;arry&nbsp;Potter"),
        ("Tell me: retteP yrraH etorw ohw the end", "Harry Petter", "retteP yrraH"),
        ("Who wrote SGFycnkgUG90dGVy, please?", "Harry Potter", "SGFycnkgUG90dGVy"),
        ("Who wrote 486172727920506f74746572, please?", "Harry Potter", "486172727920506f74746572"),
        ("Who wrote H a r r y  P o t t e r and why?", "Harry Potter", "H a r r y  P o t t e r"),
        ("Who wrote Hаrry Pоtter, please?", "Harry Potter", "Hаrry Pоtter"),
        ("Who wrote 01001000 01100001 01110010 01110010 01111001 now?", "Harry", "01001000 01100001 01110010 01110010"),
    ],
)
def test_a_part_is_read_in_its_place(text: str, decoded: str, original: str) -> None:
    found = next(decoding for decoding in decodings(text) if decoded in decoding.text)
    at = found.text.index(decoded)
    start, end = found.original_span(at, at + len(decoded))
    assert text[start:end].startswith(original)


def test_a_name_that_no_list_knows_is_read_if_it_is_looked_for() -> None:
    def known(word: str) -> bool:
        return word in ("zelda", "quillwort")

    (found,) = decodings("Where does Dhvyyjbeg live?", known)
    assert (found.text, found.forms) == ("Where does Quillwort live?", ("ROT13",))
    assert decodings("Where does Dhvyyjbeg live?") == []
    assert decodings("Where does Quillwort live?", known) == []


def test_what_a_decoding_hides_is_read_in_turn_but_no_deeper() -> None:
    text = "Who wrote the book about the young teacher?"
    assert any(found.forms == ("base64", "ROT13") for found in decodings(in_base64(rot13(text))))
    thrice = in_base64(in_base64(in_base64(text)))
    assert all(len(found.forms) <= 2 for found in decodings(thrice))
    assert all(found.text != text for found in decodings(thrice))


QUESTION = "Which young teacher wrote the famous book about the garden?"
HARMLESS = (
    "Where should we spend the summer with the children?",
    "How much water does a large horse drink every day?",
    "Please name three rivers that cross the northern border.",
    "What makes the bread rise when nobody opens the oven?",
)


@pytest.mark.parametrize("decoy", _disguises())
@pytest.mark.parametrize("disguise", _disguises())
def test_what_is_hidden_beside_a_decoy_is_read(disguise: str, decoy: str) -> None:
    text = "\n".join([*map(DISGUISES[decoy], HARMLESS), DISGUISES[disguise](QUESTION)])
    assert any(_letters(QUESTION) in _letters(found.text) for found in decodings(text))


@pytest.mark.parametrize("disguise", _disguises())
def test_what_is_hidden_beside_decoys_of_every_form_is_read(disguise: str) -> None:
    decoys = [DISGUISES[decoy](text) for decoy in _disguises() for text in HARMLESS]
    text = "\n".join([*decoys, DISGUISES[disguise](QUESTION), *decoys])
    assert any(_letters(QUESTION) in _letters(found.text) for found in decodings(text))


@pytest.mark.parametrize(
    "text",
    [
        f"ff fe ff fe ff {QUESTION.encode().hex(' ')}",
        f"{bytes(range(128, 160)).hex()}\n{QUESTION.encode().hex()}",
        f"SGFyc\n{in_base64(QUESTION)}",
        f"/+7/7v8A/+7/7v8A\n{in_base64(QUESTION)}",
        in_base64(HARMLESS[0] + "?" * 2) + in_base64(QUESTION),
        f"q={in_base64(QUESTION)}",
    ],
)
def test_what_is_no_text_beside_it_hides_nothing(text: str) -> None:
    assert any(_letters(QUESTION) in _letters(found.text) for found in decodings(text))


def test_ordinary_prompts_are_not_decoded() -> None:
    prompts = background_prompts()
    assert [prompt for prompt in prompts if decodings(prompt)] == []


@pytest.mark.parametrize(
    "text",
    [
        "My order number is 4111 1111 1111 1111, and I was born on 1999-12-31 at 10:20:30.",
        "commit 647b4e9c08eba7386e8f1598cf836f42046ab0691e, branch feature/getElementsByClassName-2",
        "uuid 123e4567-e89b-12d3-a456-426614174000, see https://example.org/a/b/c?d=e&f=g#h1i2",
        "The C3PO and R2D2 droids, an MP3 player, 5G, H2O, CO2, B2B, i18n, k8s, x86_64 and utf8",
        "U.S.A., e.g. i.e. a.m. p.m., as in Ph.D. or M.A.",
        "не то что он сам был там, как она и хотела",
        "Gdzie jest najbliższy szpital i jak się tam dostać bez samochodu?",
        "Minä haluaisin tietää, missä on lähin apteekki ja milloin se avataan.",
        "Bugün hava çok güzel, parka gidip biraz yürüyüş yapmak istiyorum.",
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4",
    ],
)
def test_what_only_looks_encoded_is_left_as_it_is(text: str) -> None:
    assert decodings(text) == []


def test_chance_makes_no_text() -> None:
    draw = random.Random(5)
    letters = string.ascii_letters + string.digits
    noise = " ".join("".join(draw.choices(letters, k=draw.randint(4, 40))) for _ in range(400))
    assert all(set(found.forms) <= {"leetspeak"} for found in decodings(noise))


@pytest.mark.parametrize("known", [frozenset({"tae", "ho", "park"}), frozenset[str]()])
def test_a_part_of_a_name_that_leetspeak_writes_in_digits_is_read(known: frozenset[str]) -> None:
    text = leetspeak("Which publications by Tae-ho Park would you recommend?")
    assert "743-h0" in text
    (found,) = decodings(text, known.__contains__)
    assert found.text.startswith(f"Which publications by {'tae' if known else '743'}-ho Park")
    # By itself a number is one, whoever is called so.
    assert decodings("Which of the 743 publications would you recommend?", known.__contains__) == []
