"""Long phrases in a stream of letters, spelt right or nearly so.

A stretch s of the text is as good as a phrase p if 1 - levenshtein(s, p) / max(|s|, |p|) >= 0.85. At most
k = floor(3 |p| / 17) edits do that, whatever the length of s. Let p be cut into k + 1 pieces and e(j) be the edits in
piece j. The first i with e(0) + ... + e(i) <= i exists, and there e(i) = 0 and, unless i = 0, e(i - 1) <= 1: one piece
stands in s letter by letter, and of the two letters before it in p one is among the two letters before it in s. An
automaton finds the pieces; what they announce is compared from the first letter on at which it could be complete.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rapidfuzz.distance.Levenshtein import distance, editops

from guards.phrases.strings import Strings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from guards.phrases.form import Form

LONG: Final = 6
"""Letters from which on a phrase is looked for in the letters alone."""

# A phrase's number, letters until it could be complete after the piece, letters from its beginning to the piece's end.
_First = tuple[int, int, int]
# The same, and the two letters before the piece.
_Later = tuple[int, int, int, str, str]


def tolerance(length: int) -> int:
    """Edits that leave two strings alike, the longer of which has ``length`` letters."""
    return 3 * length // 20


def most_edits(length: int) -> int:
    """Edits that leave a string of any length like a phrase of ``length`` letters."""
    return 3 * length // 17


@dataclass(frozen=True, slots=True, order=True)
class Near:
    """A stretch of letters, ending with the letter read last, that is as good as a phrase."""

    edits: int
    number: int
    start: int
    end: int


class Pieces:
    """Pieces of numbered phrases of ``LONG`` letters or more. Immutable."""

    def __init__(self, phrases: Sequence[str]) -> None:
        self.phrases = phrases
        announced: dict[str, tuple[int, list[_First], list[_Later]]] = {}
        for number, phrase in enumerate(phrases):
            length = len(phrase)
            parts = most_edits(length) + 1
            earliest = length - tolerance(length)
            start = 0
            for part in range(1, parts + 1):
                end = -(-length * part // parts)
                _, firsts, later = announced.setdefault(phrase[start:end], (end - start, [], []))
                lead = max(earliest - end, 0)
                if start:
                    later.append((number, lead, end, phrase[start - 1], phrase[start - 2]))
                else:
                    firsts.append((number, lead, end))
                start = end
        self.strings = Strings(announced)


class Search:
    """One stream's search."""

    __slots__ = ("_due", "_form", "_phrases", "_pieces", "_read")

    def __init__(self, pieces: Pieces, form: Form) -> None:
        """Search in ``form``, of which nothing has been read."""
        self._phrases = pieces.phrases
        self._form = form
        self._pieces = pieces.strings
        self._read = 0
        # At which letter to compare what: numbers of phrases, and where they would begin if nothing were left out.
        self._due: defaultdict[int, set[tuple[int, int]]] = defaultdict(set)

    def skip(self, end: int) -> None:
        """Read up to letter ``end`` without finding what ends there."""
        self._announce(end)
        self._read = end
        for letter in [letter for letter in self._due if letter <= end]:
            self._due[end + 1] |= self._due.pop(letter)

    def read(self, end: int) -> Iterator[Near]:
        """Read up to letter ``end``. Returns what ends with each letter in turn, and with it the best first."""
        self._announce(end)
        due = self._due
        # Nothing may be skipped: what is compared may be due again with the next letter.
        for letter in range(self._read + 1, end + 1):
            if letter in due:
                yield from sorted([near for each in due.pop(letter) for near in self._compare(*each, letter)])
        self._read = end

    def _announce(self, end: int) -> None:
        letters, base = self._form.letters, self._form.base
        due = self._due
        for last, (length, firsts, later) in self._pieces.ending(letters, self._read - base, end - base):
            after = last + base
            for number, lead, offset in firsts:
                due[after + lead].add((number, after - offset))
            if later:
                first = last - length
                before = letters[max(first - 2, 0) : first]
                for number, lead, offset, one, two in later:
                    if one in before or two in before:
                        due[after + lead].add((number, after - offset))

    def _compare(self, number: int, start: int, end: int) -> Sequence[Near]:
        """The stretches up to ``end`` that are like the phrase, and when to compare next.

        Edits before the piece move the beginning and edits after it the end, at most k together. Moving either by one
        letter changes the distance by at most one: so the distance of the stretch from ``start`` bounds the others'.
        """
        phrase = self._phrases[number]
        length = len(phrase)
        most = most_edits(length)
        missing = start + length - end
        room = most - abs(missing)
        if room < 0:
            return ()
        letters, base = self._form.letters, self._form.base
        nominal = max(start, 0)
        bound = 2 * most + missing
        edits = distance(phrase, letters[nominal - base : end - base], score_cutoff=bound)
        if edits > bound:
            return ()
        found: list[Near] = []
        for begin in range(max(start - room, 0), start + room + 1):
            limit = tolerance(max(end - begin, length))
            if edits - abs(begin - nominal) <= limit:
                needed = distance(phrase, letters[begin - base : end - base], score_cutoff=limit)
                if needed <= limit:
                    found.append(Near(needed, number, begin, end))
        # While something is missing, each further letter moves both the end and what may have moved the beginning.
        following = end + max(-(-(edits - bound + 2 * missing) // 2), 1)
        if following <= start + length + most:
            self._due[following].add((number, start))
        return found


def resembles(phrase: str, read: str) -> bool:
    """Whether ``read`` is as good as ``phrase``."""
    limit = tolerance(max(len(phrase), len(read)))
    return distance(phrase, read, score_cutoff=limit) <= limit


def core(phrase: str, read: str) -> tuple[int, int]:
    """The part of ``read`` that is left without the letters at its ends that have none like them in ``phrase``."""
    equal = [block for block in editops(phrase, read).as_matching_blocks() if block.size]
    return (equal[0].b, equal[-1].b + equal[-1].size) if equal else (0, 0)
