"""Folding, letter by letter: what every other test of phrases takes for granted."""

from __future__ import annotations

import pytest

from guards.engine.folding import fold


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
    ],
)
def test_what_is_read_alike_is_folded_alike(written: str, read: str) -> None:
    assert "".join(map(fold, written)) == read
