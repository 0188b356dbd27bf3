"""Text as a matcher should see it, with a way back to the text as the client wrote it.

Compatibility forms (NFKC), letter case, accents, look-alike letters of other scripts, invisible
characters and runs of white space all carry no meaning for a name, and all have been used to hide
one. Folding is lossy on purpose: aliases and prompts go through the same function.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass

from guards.phrases.folding import is_accent, is_seen, look_alike

# What a plain ASCII text needs collapsed: control characters, and white space other than one blank.
_ASCII_RUN = re.compile(r"[\x00-\x20\x7f]+")
_ASCII_IRREGULAR = re.compile(r"[\x00-\x1f\x7f]|  |\A | \Z")
# More than any script puts on one letter.
_MOST_MARKS = 32


@dataclass(frozen=True, slots=True)
class Normalized:
    """A folded text. Character ``i`` of it stands for characters ``starts[i]``..``ends[i]`` of the original.

    ``starts`` and ``ends`` are None where both texts have the same characters at the same places.
    """

    text: str
    starts: tuple[int, ...] | None = None
    ends: tuple[int, ...] | None = None

    def original_span(self, start: int, end: int) -> tuple[int, int]:
        """The original's characters behind ``text[start:end]``. The span must not be empty."""
        if self.starts is None or self.ends is None:
            return start, end
        return self.starts[start], self.ends[end - 1]


def normalize(text: str) -> Normalized:
    """Fold ``text``: no accents, capitals, look-alikes or invisible characters; single blanks, none at the edges."""
    return _normalize_ascii(text) if text.isascii() else _normalize_unicode(text)


def _normalize_ascii(text: str) -> Normalized:
    if not _ASCII_IRREGULAR.search(text):
        return Normalized(text.lower())
    irregular = [run for run in _ASCII_RUN.finditer(text) if run.group() != " " or not 0 < run.start() < len(text) - 1]
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    position = 0
    for run in irregular:
        start, end = run.span()
        parts.append(text[position:start])
        starts.extend(range(position, start))
        ends.extend(range(position + 1, start + 1))
        # A control character inside a word is invisible; only white space separates.
        if starts and end < len(text) and any(character.isspace() for character in run.group()):
            parts.append(" ")
            starts.append(start)
            ends.append(end)
        position = end
    parts.append(text[position:])
    starts.extend(range(position, len(text)))
    ends.extend(range(position + 1, len(text) + 1))
    return Normalized("".join(parts).lower(), tuple(starts), tuple(ends))


def _normalize_unicode(text: str) -> Normalized:
    out: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    position = 0
    while position < len(text):
        if not _visible(text[position]):
            position += 1
            continue
        end = _cluster_end(text, position)
        # Without what is not seen, of which there may be any number: folded clusters are remembered.
        for character in _fold("".join(filter(_visible, text[position:end])) if end > position + 1 else text[position]):
            if character == " " and (not out or out[-1] == " "):
                if out:
                    ends[-1] = end
                continue
            out.append(character)
            starts.append(position)
            ends.append(end)
        position = end
    if out and out[-1] == " ":
        del out[-1], starts[-1], ends[-1]
    return Normalized("".join(out), tuple(starts), tuple(ends))


def _cluster_end(text: str, start: int) -> int:
    """Where the character at ``start`` ends, with what belongs to it, control characters between them too.

    Of marks, ``_MOST_MARKS``: to put them in order takes their number squared, and what is left folds to nothing.
    """
    end = ahead = start + 1
    marks = 0
    while ahead < len(text) and marks < _MOST_MARKS:
        seen = _visible(text[ahead])
        if _continues(text[ahead]):
            end = ahead + 1
            marks += seen
        elif seen:
            break
        ahead += 1
    return end


@functools.lru_cache(maxsize=65_536)
def _continues(character: str) -> bool:
    """Whether a character belongs to the one before it: marks, invisible characters, parts of a Hangul syllable."""
    if character.isascii():
        return False
    return (
        unicodedata.combining(character) != 0
        or unicodedata.category(character) == "Me"
        or not is_seen(character)
        or "\u1160" <= character <= "\u11ff"
    )


@functools.lru_cache(maxsize=65_536)
def _fold(cluster: str) -> str:
    visible = "".join(" " if character.isspace() else character for character in cluster)
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold())
    decomposed = unicodedata.normalize("NFD", folded)
    bare = unicodedata.normalize("NFC", "".join(each for each in decomposed if not is_accent(each)))
    plain = "".join(character if character.isascii() else look_alike(character) for character in bare)
    return "".join(" " if character.isspace() else character for character in plain.casefold() if _visible(character))


def _visible(character: str) -> bool:
    return character.isspace() or is_seen(character)
