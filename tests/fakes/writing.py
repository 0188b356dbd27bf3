"""Phrases and texts drawn at random, in disguises drawn at random, and what a reader reads in them.

What a character stands for is told by tables written here and by Unicode's own, not by ``guards``. Left out is what
measures differ about, Hangul, whose syllables are compared by their letters; and what folding does not see through:
marks of other scripts that are vowels there, and I written for l.
"""

from __future__ import annotations

import random
import unicodedata
from typing import Final

from hypothesis import strategies as st

from guards.phrases.phrase import Phrase, PhraseClass

LATIN: Final = "abcdefghijklmnopqrstuvwxyz"
DIGITS: Final = "0123456789"
SCRIPTS: Final = (
    LATIN,
    LATIN,
    LATIN + DIGITS,
    DIGITS,
    "джилпфцчшщъыэюя",
    "авекмнорстух",
    "δθλξπφψω",
    "αεικορτχ",
    "אבגדהוזחטיכלמנסעפצקרשת",
    "بتثجحخدذرزسش",
    "कखगघचछजझटठडढ",
    "東京漢字大阪",
    "あいうえおかきく",
)
LETTERS: Final = "".join(dict.fromkeys("".join(SCRIPTS)))

_LOOK_ALIKES: Final = {
    **dict(zip("авекмнорстух", "abekmhopctyx", strict=True)),
    **dict(zip("αεικορτχ", "aeikoptx", strict=True)),
    **dict(zip("ԁһіјԛѕԝΒΖΗΜΝΥνøłđħ", "dhijqswbzhmnyvoldh", strict=True)),
}
"""Other letters that stand for a Latin one, in capitals too."""
MARKS: Final = (
    "\u0301",
    "\u0308",
    "\u0327",
    "\u0336",
    "\u0483",
    "\u05b0",
    "\u064b",
    "\u1ab0",
    "\u1dc4",
    "\u20e3",
    "\ufe20",
)
INVISIBLE: Final = (
    "\ufe0f",
    "\U000e0100",
    "\u3164",
    "\u115f",
    "\uffa0",
    "\u180b",
    "\u17b4",
    "\u200b",
    "\u200c",
    "\u200d",
    "\u2060",
    "\ufeff",
    "\u00ad",
    "\u034f",
    "\u202e",
    "\x00",
)
SEPARATING: Final = (" ", "-", "\n", ".", ", ", "_", " * ", "\u00a0", "·", "—", "/", "\t", "’", "🎉")


def _glyphs() -> dict[str, str]:
    """What single characters stand for: letters for letters."""
    found = {letter: letter for letter in LETTERS} | _LOOK_ALIKES
    for letter in LATIN + DIGITS:
        found[chr(ord(letter) + 0xFEE0)] = letter
    for index, letter in enumerate(LATIN):
        for start in (0x1D400, 0x1D41A, 0x1D5D4, 0x1D5EE, 0x24B6, 0x24D0):
            found[chr(start + index)] = letter
    for index, letter in enumerate(DIGITS):
        found[chr(0x1D7CE + index)] = letter
    for letter in LATIN:
        for mark in MARKS:
            composed = unicodedata.normalize("NFC", letter + mark)
            if len(composed) == 1:
                found[composed] = letter
    for written, letter in list(found.items()):
        if len(written.upper()) == 1:
            found.setdefault(written.upper(), letter)
    return found


_GLYPHS: Final = _glyphs()
_MEANT: Final = {
    **dict.fromkeys((*MARKS, *INVISIBLE), ""),
    **dict.fromkeys(("".join(SEPARATING) + "\ufffd"), " "),
    **_GLYPHS,
}
_SPELT: Final = {letter: [glyph for glyph, meant in _GLYPHS.items() if meant == letter] for letter in LETTERS}


def meaning(text: str) -> str:
    """What a reader reads: plain letters, and a blank for whatever separates."""
    return "".join(_MEANT[character] for character in text)


def plain(phrase: Phrase) -> Phrase:
    """A phrase in plain letters."""
    return Phrase(meaning(phrase.text), phrase.kind, phrase.telling)


def count(text: str) -> int:
    """Letters and digits."""
    return len(meaning(text).replace(" ", ""))


_WORDS: Final = st.sampled_from(SCRIPTS).flatmap(lambda letters: st.text(letters, min_size=1, max_size=8))


@st.composite
def phrases(draw: st.DrawFn, *, fewest: int = 1) -> Phrase:
    """Up to five words of any script, with punctuation; its first three fifths give it away, or all of it only."""
    words = draw(st.lists(_WORDS, min_size=1, max_size=5).filter(lambda words: len("".join(words)) >= fewest))
    between = st.sampled_from([" ", " ", " ", "-", ", ", ". ", "’", ""])
    text = "".join(draw(st.sampled_from([str, str.capitalize, str.upper]))(word) + draw(between) for word in words)
    letters = count(text)
    return Phrase(text.strip(), PhraseClass.FACT, draw(st.sampled_from([-(-letters * 3 // 5), letters])))


def disguise(rng: random.Random, text: str) -> str:
    """A text of plain letters and blanks in other characters, with others between, as much as ``rng`` pleases."""
    much, apart = rng.choice([0.0, 0.0, 0.2, 0.9]), rng.choice([0.0, 0.0, 0.0, 0.15, 1.0])
    joined = rng.choice([" ", " ", "", "\n", " - "])
    parts = []
    for letter in text:
        if letter == " ":
            parts.append(rng.choice(SEPARATING) if rng.random() < much else joined)
            continue
        parts.append(rng.choice(_SPELT[letter]) if rng.random() < much else letter)
        if letter in LATIN and rng.random() < much / 3:
            parts += rng.choices(MARKS, k=rng.randint(1, 2))
        if rng.random() < much / 3:
            parts += rng.choices(INVISIBLE, k=rng.randint(1, 3))
        if rng.random() < apart:
            parts.append(rng.choice(SEPARATING))
    return "".join(parts)


def mistyped(rng: random.Random, text: str) -> str:
    """With up to a few letters changed, left out or put in, and perhaps broken off."""
    letters = list(text)
    for _ in range(rng.choice([0, 0, 1, 2, 3])):
        place = rng.randrange(len(letters) + 1)
        letters[place : place + rng.choice([0, 1])] = rng.choice(["", rng.choice(LATIN), rng.choice(text)])
    end = rng.randint(len(letters) // 2, len(letters)) if rng.random() < 0.4 else len(letters)
    return "".join(letters[:end])


_ORDINARY: Final = st.lists(st.sampled_from(["the", "of", "and so on", "12", "it was", "over"]) | _WORDS, max_size=3)


@st.composite
def texts(draw: st.DrawFn, known: list[Phrase]) -> str:
    """Ordinary words, phrases in disguise, and what is nearly one or the beginning of one."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    parts = []
    for phrase in draw(st.lists(st.none() | st.sampled_from(known), min_size=1, max_size=4)):
        said = " ".join(draw(_ORDINARY)) if phrase is None else phrase.text
        words = " ".join(meaning(said).split())
        parts.append(disguise(rng, words if phrase is None else mistyped(rng, words)))
    return draw(st.sampled_from([" ", " ", ", ", ""])).join(parts)
