"""Whether what is typed is a name with slips of the finger in its words, or other words that are meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rapidfuzz.distance import OSA

from guards.detect.misspelling import SHORTEST, misspells, tolerance
from guards.detect.words import zipf

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# On the Zipf scale, less than one in a million words: what is more common is typed on purpose, and a name's word that
# is rarer tells who is meant.
RARE = 3.0
# More than a hundredth as common as the name's word is on purpose too, where people mistype one or two words of a
# hundred, each in many ways; beside the rest of the name it may be one of ten million words all the same.
_RARER = 2.0
_SUPPORTED = 2.0
# Who slipped in one word of a name slips in the next ten times as readily as anybody, or more.
_SLIPPING = 4.0
# Of a phrase in all, or one for each word.
_EDITS = 2
# Letters of a name of which words too short to be misspelt alone may be, too.
_LONG_NAME = 9


def slipped(typed: Sequence[str], name: Sequence[str], is_name: Callable[[str], bool]) -> bool:
    """Whether as many typed words are a name's but for slips: one letter of a word, of nine letters two, or neighbours.

    ``is_name`` tells of a word whether it is part of a name, and so no slip. What is common enough to be typed on
    purpose is a slip only beside a word that tells who is meant: the more readily if that is mistyped too, and in any
    case beside two.
    """
    found = _slips(typed, name, is_name)
    if not found:
        return False
    common = [word for word, of_name in found if _is_common(word, of_name, supported=len(name) > 1)]
    if not common:
        return True
    mistyped = [of_name for word, of_name in found if word not in common and zipf(of_name) < RARE]
    spelt = [word for word in name if word in typed and zipf(word) < RARE]
    if len(mistyped) + len(spelt) > 1:
        return True
    most = _SLIPPING if mistyped else RARE if spelt else 0.0
    return all(zipf(word) < most for word in common)


def is_slip(typed: str, word: str) -> bool:
    """Whether a typed word is, by itself, a slip of another."""
    return len(typed) >= SHORTEST and misspells(typed, word) and not _is_common(typed, word, supported=False)


def _is_common(word: str, of_name: str, *, supported: bool) -> bool:
    """Whether a word is common enough to be typed on purpose."""
    return zipf(word) >= RARE or zipf(word) > max(zipf(of_name) - _RARER, _SUPPORTED if supported else 0.0)


def _slips(typed: Sequence[str], name: Sequence[str], is_name: Callable[[str], bool]) -> list[tuple[str, str]]:
    """The words that differ, each with the name's; empty if none does, or too many letters do."""
    found: list[tuple[str, str]] = []
    edits = 0
    for word, of_name in zip(typed, name, strict=True):
        if word == of_name:
            continue
        if len(word) < SHORTEST or word.isdigit() or is_name(word):
            return []
        allowed = tolerance(of_name) or int(len(of_name) >= SHORTEST and len(name) > 1 and _is_long(name))
        distance = OSA.distance(word, of_name, score_cutoff=allowed)
        if distance > allowed:
            return []
        edits += distance
        found.append((word, of_name))
    return found if edits <= max(_EDITS, len(found)) else []


def _is_long(name: Sequence[str]) -> bool:
    return sum(map(len, name)) >= _LONG_NAME
