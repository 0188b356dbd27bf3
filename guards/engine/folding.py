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

_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
"""Unicode categories of characters that show nothing."""

BLANKLESS: Final = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Scripts written without blanks between words, as ranges for a regular expression: each character is a word."""

_BLANKLESS: Final = re.compile(f"[{BLANKLESS}]")
# Unicode's Default_Ignorable_Code_Point, which no module of Python's knows: nothing is drawn for these, letters or not.
_UNDRAWN: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# Scripts whose marks are vowels that no word does without: Thaana, and those that come from Brahmi.
_SYLLABIC: Final = re.compile(
    "[\u0780-\u07bf\u0900-\u109f\u1700-\u17ff\u1900-\u1aaf\u1b00-\u1c7f\u3099\u309a\ua800-\uabff\U00011000-\U00011fff]"
)
# Letters whose capital is drawn like another Latin letter than the small one is (\u03bd like v, \u03c5 like u).
_CAPITALS: Final = str.maketrans({"\u039d": "n", "\u03a5": "y"})
_OF_TWO_KINDS: Final = frozenset("\u03bd\u03c5")
# Letters that no table of look-alikes lists because they are not drawn alike, only read alike.
_READ_ALIKE: Final = {"ı": "i", "ø": "o", "ł": "l", "đ": "d", "ħ": "h", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d"}


@functools.lru_cache(maxsize=65_536)
def fold(character: str) -> str:
    """Letters and digits of a character, folded; a blank for one that separates; nothing for one that is not seen.

    A character of a script without blanks comes out between blanks, as a word of its own.
    """
    if character.isspace():
        return " "
    if not is_seen(character):
        return ""
    capitals = unicodedata.normalize("NFKD", character).translate(_CAPITALS)
    decomposed = unicodedata.normalize("NFKD", capitals.casefold())
    bare = "".join(each for each in decomposed if not is_accent(each))
    plain = "".join(each if each.isascii() else look_alike(each) for each in bare).casefold()
    return "".join(_letter(each) for each in plain)


def spellings(text: str) -> list[str]:
    """A phrase in each case that it may be written in, where case is not folded away: Greek with \u03bd or \u03c5."""
    if _OF_TWO_KINDS.isdisjoint(unicodedata.normalize("NFKD", text).casefold()):
        return [text]
    return [*dict.fromkeys((text, text.lower(), text.upper(), text.title()))]


def _letter(character: str) -> str:
    if not is_seen(character):
        return ""
    if _BLANKLESS.match(character):
        return f" {character} "
    return character if unicodedata.category(character)[0] in "LNM" else " "


def is_seen(character: str) -> bool:
    """Whether anything is drawn for a character."""
    return unicodedata.category(character) not in _INVISIBLE and not _UNDRAWN.match(character)


def is_accent(character: str) -> bool:
    """Whether it is a mark that a reader can do without: accents, points of Hebrew and Arabic, what encloses."""
    return unicodedata.category(character) in ("Mn", "Me") and not _SYLLABIC.match(character)


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
