"""The ways to write a text so that it is not seen, and how each is read: where in a text, and as what.

Each reader begins with a test that ordinary text fails within microseconds. Those of a cipher that keeps words apart
(ROT13, reversed, leetspeak) compare how common the words are as they stand and as they would be read.
"""

from __future__ import annotations

import base64
import codecs
import functools
import itertools
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from guards.detect.escapes import escapes
from guards.detect.words import zipf
from guards.phrases.folding import look_alike

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Known = Callable[[str], bool]
    """Whether a folded word is part of a name that is looked for."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Characters ``start``..``end`` of a text, and what they stand for.

    ``places`` has for each character of ``plain`` the one it is read from, counted from ``start``; None where
    characters do not correspond.
    """

    start: int
    end: int
    plain: str
    places: Sequence[int] | None = None


# ---- how much a text looks like language

# On the Zipf scale, less than one in a million words: a word that a text rarely has two of in a row.
_RARE: Final = 3.0
# What a name that is looked for counts, where a reading brings it out: as much as the commonest word.
_NAMED: Final = 7.0
_NAME_LETTERS: Final = 5
# How many orders of magnitude more likely, by its words, a reading has to be than the text as it stands.
_GAIN: Final = 6.0
# Each word that no reading makes commoner counts against it.
_UNCHANGED: Final = -1.0


def _weight(word: str, known: Known) -> float:
    return max(zipf(word), _NAMED if len(word) >= _NAME_LETTERS else _RARE) if known(word) else zipf(word)


def legible(text: str, known: Known) -> bool:
    """Whether two fifths of the letters are in words of more than two that are not rare; the rest may be names."""
    words = [word for word in _LETTERS.findall(text.lower()) if len(word) > 2]
    told = sum(len(word) for word in words if _weight(word, known) >= _RARE)
    return 5 * told >= 2 * sum(character.isalnum() for character in text)


def _speaks(text: str) -> bool:
    """Whether a text holds letters and blanks above all."""
    return 10 * sum(character.isalpha() or character.isspace() for character in text) >= 7 * len(text)


_LETTERS: Final = re.compile(r"[^\W\d_]+")

# ---- bytes written as characters

# Bytes from which on no chance makes a text of them, alone and among others; what is shorter has to be legible.
_TELLING_BYTES: Final = 12
_TELLING_AMONG_OTHERS: Final = 24
_BASE64: Final = re.compile(r"(?<![\w+/-])[A-Za-z0-9+/_-]{8,}(?:\r?\n[A-Za-z0-9+/_-]{4,})*(?:={1,2}|(?!\w))")
_BASE64_LINE: Final = re.compile(r"[A-Za-z0-9+/_-]{8,}")
_HEX: Final = re.compile(r"(?<![0-9A-Za-z])(?:(?:0x|\\x)?[0-9A-Fa-f]{2}[\s:,-]{0,2}){4,}[0-9A-Fa-f]{2}(?![0-9A-Za-z])")
_BINARY: Final = re.compile(r"(?<![0-9A-Za-z])(?:[01]{8}[\s,-]{0,2}){4,}[01]{8}(?![0-9A-Za-z])")
_DIGIT: Final = re.compile("[0-9]")
_HEX_PREFIX: Final = re.compile(r"0x|\\x|[\s:,-]")


def _base64(text: str, known: Known) -> Iterator[Stretch]:
    for run in _BASE64.finditer(text):
        lines = [line.span() for line in _BASE64_LINE.finditer(text, *run.span())]
        whole = list(_in_base64(text, run.start(), run.end(), known)) if _wrapped(lines) else []
        yield from whole or (stretch for line in lines for stretch in _in_base64(text, *line, known))


def _wrapped(lines: Sequence[tuple[int, int]]) -> bool:
    """Whether lines are as long as each other, but for the last: one text, and not one in each."""
    lengths = [end - start for start, end in lines]
    return max(lengths) == min([*lengths[:-1], max(lengths)])


def _in_base64(text: str, start: int, end: int, known: Known) -> Iterator[Stretch]:
    letters = "".join(text[start:end].split()).rstrip("=").replace("-", "+").replace("_", "/")
    if letters.islower() or letters.isdigit():
        return
    letters = letters[: len(letters) - (len(letters) % 4 == 1)]
    yield from _bytes(start, end, base64.b64decode(letters + "=" * (-len(letters) % 4)), known)


def _hexadecimal(text: str, known: Known) -> Iterator[Stretch]:
    for run in _HEX.finditer(text) if _DIGIT.search(text) else ():
        digits = _HEX_PREFIX.sub("", run.group())
        # A long number, such as that of a bank card, is no text.
        if not digits.isdigit() or len(digits) >= 4 * _TELLING_BYTES:
            yield from _bytes(*run.span(), bytes.fromhex(digits[: len(digits) // 2 * 2]), known)


def _binary(text: str, known: Known) -> Iterator[Stretch]:
    for run in _BINARY.finditer(text) if _DIGIT.search(text) else ():
        digits = re.sub(r"[^01]", "", run.group())
        content = bytes(int(digits[at : at + 8], 2) for at in range(0, len(digits) // 8 * 8, 8))
        yield from _bytes(*run.span(), content, known)


def _bytes(start: int, end: int, content: bytes, known: Known) -> Iterator[Stretch]:
    """What bytes say, without those that are no text."""
    decoded = content.decode("utf-8", "replace")
    parts = "".join(character if _shown(character) else "\0" for character in decoded).split("\0")
    if len(parts) > 1:
        parts = [part for part in parts if len(part.encode()) >= _TELLING_AMONG_OTHERS]
    told = [part for part in parts if _is_text(part, known)]
    if told:
        yield Stretch(start, end, " ".join(told))


def _is_text(plain: str, known: Known) -> bool:
    telling = len(plain.encode()) >= _TELLING_BYTES
    return (telling and _BASE64.fullmatch(plain) is not None) or (_speaks(plain) and (telling or legible(plain, known)))


def _shown(character: str) -> bool:
    return (character.isprintable() and character != "\N{REPLACEMENT CHARACTER}") or character in "\t\r\n"


# ---- letters apart

_APART: Final = re.compile(r"(?<![^\W_])[^\W_](?:[ \t.·•_*|/,;:!?'’-]{1,5}[^\W_](?![^\W_])){4,}")
_SEGMENTED: Final = 500
_LONGEST_WORD: Final = 20
# Of a word that no list knows, log10 of its probability: no word of the lists is rarer.
_UNKNOWN: Final = -9.5


def _letters_apart(text: str, known: Known) -> Iterator[Stretch]:
    for run in _APART.finditer(text):
        places = [at for at, character in enumerate(run.group()) if character.isalnum()]
        letters = "".join(run.group()[at] for at in places)
        gaps = [run.group()[before + 1 : after] for before, after in itertools.pairwise(places)]
        common = Counter(Counter(gaps).most_common(1)[0][0])
        # What stands between two letters and not between most is what stood between words.
        ends = [at for at, gap in enumerate(gaps, 1) if Counter(gap) - common]
        if not ends:
            ends = _word_ends(letters[:_SEGMENTED].lower(), known)
        plain, read = "", []
        for start, end in itertools.pairwise([0, *ends, len(letters)]):
            plain += f" {letters[start:end]}" if start else letters[start:end]
            read += ([places[start - 1] + 1] if start else []) + places[start:end]
        if legible(plain, known):
            yield Stretch(run.start(), run.end(), plain, read)


def _word_ends(letters: str, known: Known) -> list[int]:
    """Where words end in letters written together, but for the last: the most probable cut by word frequencies."""
    best: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(letters) + 1):
        best.append(
            max(
                (best[start][0] + _log_probability(letters[start:end], known), start)
                for start in range(max(0, end - _LONGEST_WORD), end)
            )
        )
    ends = [best[-1][1]]
    while ends[-1]:
        ends.append(best[ends[-1]][1])
    return ends[-2::-1]


def _log_probability(word: str, known: Known) -> float:
    weight = _weight(word, known)
    # A rare word of the lists may be two that somebody wrote together.
    return weight - 9.0 - 2.0 * max(0.0, _RARE - weight) if weight else _UNKNOWN - len(word)


# ---- look-alike characters


def _look_alikes(text: str, known: Known) -> Iterator[Stretch]:
    if text.isascii():
        return
    drawn = {character: _unmasked(character) for character in set(text)}
    table = str.maketrans({character: like for character, like in drawn.items() if like != character})
    plain = text.translate(table)
    # A word of another alphabet may look like one of ours by chance; one that mixes two does not.
    if plain != text and (any(map(_compatible, drawn)) or any(map(_mixed, text.split(), plain.split()))):
        yield Stretch(0, len(text), plain, range(len(text)))


def _mixed(word: str, plain: str) -> bool:
    return word != plain and any(character.isascii() and character.isalpha() for character in word)


@functools.lru_cache(maxsize=65_536)
def _unmasked(character: str) -> str:
    """The one that a character is drawn like, in the same case: itself for a letter of the Latin alphabet."""
    if character.isascii() or unicodedata.name(character, "").startswith("LATIN"):
        return character
    # The small letter first: a capital is also drawn like small letters, an I of another alphabet like an l.
    for drawn in (character.lower(), character):
        compatible = unicodedata.normalize("NFKC", drawn)
        letters = compatible if compatible.isascii() else "".join(map(look_alike, compatible))
        if len(letters) == 1 and letters.isascii() and letters.isspace() == character.isspace():
            return letters.upper() if character.isupper() else letters
    return character


@functools.lru_cache(maxsize=65_536)
def _compatible(character: str) -> bool:
    """Whether a character is another form of an ASCII letter: full-width, mathematical, in a circle."""
    letters = _unmasked(character)
    return letters != character and letters.isalpha() and letters == unicodedata.normalize("NFKC", character)


# ---- ciphers that keep words apart

_TOKEN: Final = re.compile(r"[^\W_](?:[\w@$|!+]*[^\W_])?|[@$][\w@$|!+]*[^\W_]")
# A text where no word is rare is not looked at. Commoner words beside those that are may be of the same cipher.
_BESIDE: Final = 3
_LEET: Final[dict[str, str]] = dict(zip("023456789@$+", "ozeasgtbgast", strict=True)) | {"1": "il", "!": "i", "|": "li"}
_LEET_ANY: Final = re.compile(r"[0-9@$|!+]")
# Characters of one word that may be read in two ways each; of more, the first way is taken.
_AMBIGUOUS: Final = 4
_NUMBER_ZIPF: Final = 5.0


def _rot13(word: str, known: Known) -> str:
    return codecs.encode(word, "rot13")


def _reversed(word: str, known: Known) -> str:
    return word[::-1]


def _reversed_rot13(word: str, known: Known) -> str:
    return codecs.encode(word[::-1], "rot13")


def _unleet(word: str, known: Known) -> str:
    if not _LEET_ANY.search(word):
        return word
    ways = [_LEET.get(character, character) for character in word]
    if sum(len(way) > 1 for way in ways) > _AMBIGUOUS:
        ways = [way[0] for way in ways]
    read = max(map("".join, itertools.product(*ways)), key=lambda each: _weight(each.lower(), known))
    # Numbers are numbers, unless they read as a very common word, 15 for "is", or as part of a name, 743 for "Tae".
    return read if not word.isdigit() or zipf(read) >= _NUMBER_ZIPF or known(read.lower()) else word


def _as_it_stands(raw: str, words: Sequence[tuple[int, str]]) -> Iterator[tuple[str, Sequence[int]]]:
    """Each word in its place, with its letters in order."""
    yield _in_place(raw, words), range(len(raw))


def _turned(raw: str, words: Sequence[tuple[int, str]]) -> Iterator[tuple[str, Sequence[int]]]:
    """Each word in its place, its letters turned round; and the words turned round as well."""
    places = list(range(len(raw)))
    for at, word in words:
        places[at : at + len(word)] = range(at + len(word) - 1, at - 1, -1)
    yield _in_place(raw, words), places
    turned = [(len(raw) - at - len(word), word) for at, word in reversed(words)]
    yield _in_place(raw[::-1], turned), range(len(raw) - 1, -1, -1)


def _in_place(raw: str, words: Sequence[tuple[int, str]]) -> str:
    parts: list[str] = []
    position = 0
    for at, word in words:
        parts += raw[position:at], word
        position = at + len(word)
    return "".join([*parts, raw[position:]])


_CIPHERS: Final = {
    "ROT13": (_rot13, _as_it_stands),
    "reversed text": (_reversed, _turned),
    "reversed ROT13": (_reversed_rot13, _turned),
    "leetspeak": (_unleet, _as_it_stands),
}


def _ciphered(name: str, text: str, known: Known) -> Iterator[Stretch]:
    decipher, write = _CIPHERS[name]
    for tokens in _suspicious(text, known):
        read = [(token, decipher(token.group(), known)) for token in tokens]
        gains = [
            _weight(plain.lower(), known) - _weight(token.group().lower(), known)
            if plain != token.group()
            else _UNCHANGED
            for token, plain in read
        ]
        for first, last in _peaks(gains, _GAIN):
            start, end = read[first][0].start(), read[last][0].end()
            words = [(token.start() - start, plain) for token, plain in read[first : last + 1]]
            for plain, places in write(text[start:end], words):
                yield Stretch(start, end, plain, places)


@functools.lru_cache(maxsize=8)
def _suspicious(text: str, known: Known) -> list[list[re.Match[str]]]:
    """Runs of words that are rare on the whole, with their neighbours."""
    words = _TOKEN.findall(text.lower())
    rare = [_UNCHANGED if word.isdigit() else _RARE - zipf(word) for word in words]
    if not words or max(rare) <= 0.0:
        return []
    tokens = list(_TOKEN.finditer(text))
    words = [token.group().lower() for token in tokens]
    rare = [_UNCHANGED if word.isdigit() else _RARE - _weight(word, known) for word in words]
    runs: list[tuple[int, int]] = []
    for first, last in _peaks(rare, _RARE - 0.5):
        start, end = max(0, first - _BESIDE), last + 1 + _BESIDE
        start = runs.pop()[0] if runs and runs[-1][1] >= start else start
        runs.append((start, end))
    return [tokens[start:end] for start, end in runs]


def _peaks(gains: Sequence[float], least: float) -> list[tuple[int, int]]:
    """Runs, first and last, that sum up to ``least`` and begin where the sum begins to rise (Kadane's algorithm)."""
    found: list[tuple[int, int]] = []
    total = best = 0.0
    first = last = 0
    for at, gain in enumerate([*gains, -float("inf")]):
        if total <= 0.0:
            first, total, best = at, 0.0, 0.0
        total += gain
        if total > best:
            best, last = total, at
        elif total <= 0.0 or total < best - least:
            if best >= least:
                found.append((first, last))
            total = 0.0
    return found


def _escapes(text: str, known: Known) -> Iterator[Stretch]:
    return itertools.starmap(Stretch, escapes(text))


WRAPPINGS: Final[dict[str, Callable[[str, Known], Iterator[Stretch]]]] = {
    "escapes": _escapes,
    "look-alike characters": _look_alikes,
    "letters apart": _letters_apart,
    "base64": _base64,
    "hexadecimal": _hexadecimal,
    "binary": _binary,
}
"""What may hide a text that is itself encoded, by the name that an operator is shown."""

CIPHERS: Final[dict[str, Callable[[str, Known], Iterator[Stretch]]]] = {
    name: functools.partial(_ciphered, name) for name in _CIPHERS
}
"""What can only be told from ordinary text because words come out, by name."""
