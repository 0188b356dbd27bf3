"""Folding, letter by letter: what every other test of phrases takes for granted."""

from __future__ import annotations

import pytest
import regex

from guards.engine.folding import fold, spellings
from guards.phrases.matching import PhraseSet
from guards.phrases.phrase import Phrase, PhraseClass


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Rowling", "rowling"),
        ("ＲＯＷＬＩＮＧ", "rowling"),  # full-width
        ("𝐑𝐨𝐰𝐥𝐢𝐧𝐠", "rowling"),  # mathematical bold
        ("Rоwling", "rowling"),  # a Cyrillic o
        ("Ноgwаrts", "hogwarts"),  # Cyrillic Н, о and а
        ("Rοwling", "rowling"),  # a Greek omicron
        ("Ro\u200bw\u00adl\u2060ing", "rowling"),  # zero-width space, soft hyphen, word joiner
        ("Ro\u202ewling", "rowling"),  # turns the direction
        ("Rów\u0301ling", "rowling"),
        ("ﬁsh", "fish"),  # a ligature
        ("①②", "12"),
        ("Straße", "strasse"),
        ("ıøłđħæœþð", "ioldhaeoethd"),
        ("J.-K._Rowling’s", "j  k  rowling s"),
        ("a\tb\u00a0c\u3000d", "a b c d"),
        ("東京", " 東  京 "),
        ("\ud800x", "x"),
        ("🦔", " "),
        ("Жуковский", "жykobckии"),
        ("हिन्दी", "हिन्दी"),  # vowel signs are letters
        ("กิน", " ก  ิ  น "),
        ("が", " か  ゙ "),
        ("שָׁלוֹם", "שלום"),  # points are not
        ("مُحَمَّد", "محمد"),
        ("ΝiΝa ΝuΝΝaΝ", "nina nunnan"),  # Greek capitals, whose small letters look like v and u
        ("Υvonne 𝚼", "yvonne y"),
        ("νolde υ", "volde u"),
    ],
)
def test_what_is_read_alike_is_folded_alike(written: str, read: str) -> None:
    assert "".join(map(fold, written)) == read


@pytest.mark.parametrize(
    "mark",
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180e\u180f\u3164\ufe00\ufe0f\uffa0\U000e0001\U000e0100\U000e01ef"
    "\u0300\u036f\u0483\u0488\u05b0\u064b\u0670\u1ab0\u1dc4\u20d0\u20e3\u302a\ua66f\ufe20",
)
def test_marks_that_say_nothing(mark: str) -> None:
    assert "".join(map(fold, mark.join("swordfish") + mark)) == "swordfish"


def test_what_unicode_draws_nothing_for_is_nothing() -> None:
    # `regex` knows the property, and is not in the engine's wheel.
    ignorable = regex.compile(r"\p{Default_Ignorable_Code_Point}")
    assert [hex(code) for code in range(0x110000) if ignorable.match(chr(code)) and fold(chr(code))] == []


@pytest.mark.parametrize("written", ["Νίκη Υπατία", "νίκη υπατία", "ΝΊΚΗ ΥΠΑΤΊΑ", "ΝΙΚΗ ΥΠΑΤΙΑ", "Νικη Υπατια"])
def test_greek_is_found_in_every_case(written: str) -> None:
    phrases = PhraseSet([("fr_1", Phrase("Νίκη Υπατία", PhraseClass.FACT, 6))])
    assert phrases.find(f"Η {written} ήταν εκεί.")


def test_other_phrases_are_spelt_one_way() -> None:
    assert spellings("Ada Quillfeather") == ["Ada Quillfeather"]
