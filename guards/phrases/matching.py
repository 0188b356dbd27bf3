"""What must not leave, found in a stream while it comes.

A *hit* in a text is

1. a phrase: a long one in the text's letters, whatever stands between them; a short one as whole words, or spelt out;
2. a stretch of letters that is like a long phrase (`guards.phrases.pieces`);
3. the first letters of a long phrase, as many as give it away and 60 % at least, from the beginning of a word to the
   end of one;
4. a run of words of a text that is kept as shingles.

A word ends where something stands that separates, or with the text. A hit is found with the character that makes it
one; until then the stream may be passed on but for the `Matcher.pending` characters at its end, and what has been
passed on is never itself a hit, not even as a finished text. It may be the beginning of one only where that is spelt
differently, or begins within a word (up to half of it), or is a run of words but for the last.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guards.phrases.beginnings import Beginnings, Openings
from guards.phrases.folding import spellings
from guards.phrases.form import Form, tail
from guards.phrases.phrase import Phrase, PhraseClass
from guards.phrases.pieces import LONG, Pieces, Search, core, most_edits, resembles
from guards.phrases.shingles import RUN, words_of
from guards.phrases.shingling import Shingles
from guards.phrases.short import ShortPhrases

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from guards.phrases.form import Word
    from guards.phrases.pieces import Near

_LEAST_REACH = 256
_WORDS = max(LONG - 1, RUN)

# Characters taken in at once: what a long text needs while it is read does not grow with it.
_AT_ONCE = 4096

_Owned = tuple[str, Phrase]


@dataclass(frozen=True, slots=True)
class Hit:
    """A phrase, or what is as good as one, in a text."""

    owner: str
    """Id of the forget request."""
    phrase: Phrase
    start: int
    """Characters [start, end) of what the matcher was fed; 0 for what begins in the text before it.

    What is spelt differently, begins within a word or is a run of words may have begun before what was pending.
    """
    end: int
    run: bool = False
    """Whether it is a run of words of a text that is kept as shingles: no phrase of the scope's."""


class PhraseSet:
    """Phrases to look for, by owner. Immutable; shared by all streams."""

    def __init__(
        self,
        phrases: Iterable[tuple[str, Phrase]],
        *,
        shingles: Mapping[str, NDArray[np.uint64]] | None = None,
    ) -> None:
        long: dict[str, list[_Owned]] = {}
        short: dict[tuple[str, ...], list[_Owned]] = {}
        for owner, phrase, text in ((*owned, text) for owned in phrases for text in spellings(owned[1].text)):
            words = tuple(words_of(text))
            letters = "".join(words)
            if len(letters) >= LONG:
                long.setdefault(letters, []).append((owner, phrase))
            elif letters:
                short.setdefault(words, []).append((owner, phrase))
        spelt = sorted(long)
        self._long = [long[letters] for letters in spelt]
        self._short = list(short.values())
        self._size = sum(map(len, self._long)) + sum(map(len, self._short))
        self._pieces = Pieces(spelt)
        self._beginnings = Beginnings(
            spelt,
            [min(_telling(letters, phrase) for _, phrase in long[letters]) for letters in spelt],
        )
        self._shorts = ShortPhrases(short) if short else None
        self._letters = "\0".join([*spelt, *("".join(words) for words in short)])
        self._shingles = Shingles(shingles) if shingles and any(map(len, shingles.values())) else None
        longest = max(map(len, spelt), default=0)
        self._reach = max(2 * longest + most_edits(longest), _LEAST_REACH)

    def __len__(self) -> int:
        """Phrases and shingles: what has no letters is none."""
        return self._size + (len(self._shingles) if self._shingles else 0)

    def may_meet(self, letters: str) -> bool:
        """Whether a token of these letters can be a part of a phrase spelt right, or hold one. Quick."""
        return (
            self._shingles is not None or letters in self._letters or any(True for _ in self._beginnings.spelt(letters))
        )

    def matcher(self, *, before: str = "", ignore: Container[tuple[str, str]] = ()) -> Matcher:
        """Look for the phrases in a new stream.

        ``before``: text already standing before the stream, so that it cannot be completed; what it says by itself is
        no hit. ``ignore``: owners and texts of phrases that may pass. What is like another phrase of that owner, or
        gives it away, may pass too where it stands letter for letter in one of these.
        """
        return Matcher(self, before, ignore)

    def find(self, text: str) -> list[Hit]:
        """Every phrase (rule 1) and every run of words (rule 4) in a whole text, in the order in which they end."""
        form = Form()
        words: list[Word] = []
        for start in range(0, len(text), _AT_ONCE):
            words += form.read(text[start : start + _AT_ONCE])[0]
        if last := form.end():
            words.append(last)
        found: list[tuple[int, int, _Owned, bool]] = []
        for start, number in self._beginnings.spelt(form.letters):
            end = start + len(self._pieces.phrases[number])
            found.extend((start, end, owned, False) for owned in self._long[number])
        recent: deque[Word] = deque(maxlen=_WORDS)
        for word in words:
            recent.append(word)
            for first, number in self._shorts.ended(recent) if self._shorts else ():
                found.extend((first.start, word.end, owned, False) for owned in self._short[number])
        for place, owner in self._shingles.runs(words) if self._shingles else ():
            run = words[place : place + RUN]
            found.append((run[0].start, run[-1].end, (owner, _phrase_of(run)), True))
        return [
            Hit(owner, phrase, form.place(start), form.place(end - 1) + 1, run)
            for start, end, (owner, phrase), run in sorted(found, key=lambda each: (each[1], each[0]))
        ]

    def _letters_of(self, owner: str, texts: Container[tuple[str, str]]) -> list[str]:
        """The letters of the long phrases of ``owner`` that are among ``texts``."""
        return [
            letters
            for letters, owned in zip(self._pieces.phrases, self._long, strict=True)
            if any(each == owner and (each, phrase.text) in texts for each, phrase in owned)
        ]


def _telling(letters: str, phrase: Phrase) -> int:
    return max(phrase.telling, -(-3 * len(letters) // 5))


class Matcher:
    """One stream. Made by `PhraseSet.matcher`."""

    __slots__ = (
        "_allowed",
        "_floor",
        "_form",
        "_going",
        "_idle",
        "_ignore",
        "_openings",
        "_search",
        "_set",
        "_words",
        "pending",
    )

    def __init__(self, phrases: PhraseSet, before: str, ignore: Container[tuple[str, str]]) -> None:
        self.pending = 0
        """Characters at the end of what was fed that may be the beginning of a phrase: not to be passed on yet."""
        self._set = phrases
        self._idle = not phrases
        if self._idle:
            return
        self._ignore = ignore
        self._allowed: dict[str, list[str]] = {}
        before = tail(before, phrases._reach)
        self._form = form = Form(before=len(before))
        self._search = Search(phrases._pieces, form)
        self._openings = Openings(phrases._beginnings, form, self._matters)
        self._words: deque[Word] = deque(maxlen=_WORDS)
        ended, self._going = form.read(before)
        for word in ended:
            self._openings.read(word.start, word.end)
            self._words.append(word)
        if self._going:
            self._openings.read(self._going.start, self._going.end)
        self._search.skip(form.count)
        # A hit ends with a letter of the stream: one behind these.
        self._floor = form.count

    def feed(self, text: str) -> Hit | None:
        """Take in the stream's next characters. Returns the first hit that they complete; nothing may be fed then."""
        if self._idle:
            return None
        form = self._form
        # What is held back may only grow at its end.
        released = form.characters - self.pending
        fed = form.characters + len(text)
        for start in range(0, len(text), _AT_ONCE):
            if hit := self._read(text[start : start + _AT_ONCE]):
                self.pending = fed - released
                return hit
            form.trim(self._set._reach)
        self._hold(released)
        return None

    def finish(self) -> Hit | None:
        """The stream has ended. Returns the hit that this completes."""
        word = None if self._idle else self._form.end()
        hit = self._word(word) if word else None
        if not hit:
            self.pending = 0
        return hit

    def _read(self, text: str) -> Hit | None:
        ended, self._going = self._form.read(text)
        for word in ended:
            if hit := self._letters(word) or self._word(word):
                return hit
        return self._letters(self._going) if self._going else None

    def _letters(self, word: Word) -> Hit | None:
        """Read up to the end of ``word``, or of what there is of it."""
        for near in self._search.read(word.end):
            for owner, phrase in self._set._long[near.number]:
                if (owner, phrase.text) not in self._ignore and not self._passes(owner, near):
                    return self._hit(owner, phrase, near.start, near.end)
        self._openings.read(word.start, word.end)
        return None

    def _word(self, word: Word) -> Hit | None:
        """``word`` has been read, and has ended."""
        words, ignore = self._words, self._ignore
        words.append(word)
        if word.end <= self._floor:
            return None
        for start, number in self._openings.given_away():
            beginning = self._form.between(start, word.end)
            for owner, phrase in self._set._long[number]:
                told = len(beginning) >= _telling(self._set._pieces.phrases[number], phrase)
                if told and (owner, phrase.text) not in ignore and not self._stated(owner, beginning):
                    return self._hit(owner, phrase, start, word.end)
        for first, number in self._set._shorts.ended(words) if self._set._shorts else ():
            for owner, phrase in self._set._short[number]:
                if (owner, phrase.text) not in ignore:
                    return self._hit(owner, phrase, first.start, word.end)
        for owner in self._set._shingles.owners(words) if self._set._shingles else ():
            phrase = _phrase_of([*words][-RUN:])
            if (owner, phrase.text) not in ignore:
                start, end = max(words[-RUN].place, 0), self._form.place(word.end - 1) + 1
                return Hit(owner, phrase, start, end, run=True)
        return None

    def _hold(self, released: int) -> None:
        """Hold back what may be the beginning of a phrase, except what has been ``released`` before."""
        form = self._form
        places = [form.characters]
        if (held := self._openings.held()) is not None:
            places.append(form.place(held))
        word, shorts, shingles = self._going, self._set._shorts, self._set._shingles
        if shorts or shingles:
            words = [*self._words, word] if word else self._words
            if shorts and (begun := shorts.begun(words, in_word=word is not None)):
                places.append(begun.place)
            if word and shingles and shingles.owners(words):
                places.append(word.place)
        self.pending = form.characters - max(min(places), released)

    def _passes(self, owner: str, near: Near) -> bool:
        """Whether what is like a phrase is so without the stream, or stands in another phrase that may pass."""
        if not near.edits or not (self._ignore or near.start < self._floor):
            return False
        spelt = self._set._pieces.phrases[near.number]
        read = self._form.between(near.start, near.end)
        start, end = core(spelt, read)
        before = near.start + end <= self._floor and resembles(spelt, read[start:end])
        return before or self._stated(owner, read[start:end])

    def _stated(self, owner: str, letters: str) -> bool:
        """Whether ``letters`` stand so in a phrase of this owner that may pass."""
        if not self._ignore:
            return False
        if owner not in self._allowed:
            self._allowed[owner] = self._set._letters_of(owner, self._ignore)
        return any(letters in allowed for allowed in self._allowed[owner])

    def _matters(self, number: int) -> bool:
        return not self._ignore or any(
            (owner, phrase.text) not in self._ignore for owner, phrase in self._set._long[number]
        )

    def _hit(self, owner: str, phrase: Phrase, start: int, end: int) -> Hit:
        return Hit(owner, phrase, max(self._form.place(start), 0), self._form.place(end - 1) + 1)


def _phrase_of(run: Sequence[Word]) -> Phrase:
    """A run of words of a text that is kept as shingles."""
    letters = [word.letters for word in run]
    return Phrase(" ".join(letters), PhraseClass.FACT, telling=len("".join(letters)))
