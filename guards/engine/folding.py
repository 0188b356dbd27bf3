"""Characters as phrases are matched: one at a time, so that a stream can be folded as it comes.

Case, accents, compatibility forms, look-alike letters, invisible characters, white space and punctuation
carry no meaning for a phrase, and all have been used to hide one. The folding of a character does not
depend on its neighbours: composed and decomposed spellings come out alike because both are decomposed.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import Any, Final

from confusable_homoglyphs import confusables

INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
"""Unicode categories of characters that show nothing."""

BLANKLESS: Final = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Scripts written without blanks between words, as ranges for a regular expression: each character is a word."""

_BLANKLESS: Final = re.compile(f"[{BLANKLESS}]")
# Marks that other letters of the same alphabet do without: accents. Vowel signs of other scripts are letters.
_ACCENTS: Final = re.compile("[\u0300-\u036f]")
# Letters that no table of look-alikes lists because they are not drawn alike, only read alike.
_READ_ALIKE: Final = {"ı": "i", "ø": "o", "ł": "l", "đ": "d", "ħ": "h", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d"}


@functools.lru_cache(maxsize=65_536)
def fold(character: str) -> str:
    """Letters and digits of a character, folded; a blank for one that separates; nothing for one that is not seen.

    A character of a script without blanks comes out between blanks, as a word of its own.
    """
    if character.isspace():
        return " "
    if unicodedata.category(character) in INVISIBLE:
        return ""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    bare = _ACCENTS.sub("", decomposed)
    plain = "".join(each if each.isascii() else look_alike(each) for each in bare).casefold()
    return "".join(_letter(each) for each in plain)


def _letter(character: str) -> str:
    if _BLANKLESS.match(character):
        return f" {character} "
    category = unicodedata.category(character)
    if category in INVISIBLE:
        return ""
    return character if category[0] in "LNM" else " "


@functools.lru_cache(maxsize=65_536)
def look_alike(character: str) -> str:
    """The ASCII letter or digit that a character is drawn like (Unicode's confusables), else itself."""
    if character in _READ_ALIKE:
        return _READ_ALIKE[character]
    # The capital second, because it has been folded away: a Cyrillic \u041d is drawn like H, its small letter is not.
    return _drawn_like(character) or _drawn_like(character.upper()) or character


def _drawn_like(character: str) -> str:
    found: Any = confusables.is_confusable(character, greedy=True) if len(character) == 1 else None
    if not found:
        return ""
    drawn_like = {glyph["c"] for glyph in found[0]["homoglyphs"] if len(glyph["c"]) == 1 and glyph["c"].isascii()}
    letters = sorted(glyph for glyph in drawn_like if glyph.isalnum())
    # Small letters first: what is looked up has been case-folded, and `I` would stand for `l`.
    return min(letters, key=lambda glyph: not glyph.islower(), default="").lower()
