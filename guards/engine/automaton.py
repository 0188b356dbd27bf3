"""Which tokens may not come next, given what an answer has said so far.

A phrase is held to be written as soon as its pattern is: of a long one its telling letters, whatever blanks stand
between them; of a short one its words between blanks, or its letters with a blank before each. A token is banned
if it would complete a pattern. What matters of an answer is only its longest end that begins a pattern; so a
table is made for each such end when it is first met, from the few patterns that begin so and not from the whole
vocabulary.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from guards.engine.restriction import LONG
from guards.engine.vocabulary import BLANK, join, letters_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from guards.engine.restriction import RestrictionArgs
    from guards.engine.vocabulary import Ids, Vocabulary

_LAST: Final = "\U0010ffff"
_MOST_IDS: Final = 4_000_000
"""Token ids in the tables that an automaton keeps: 32 MB."""


class State(NamedTuple):
    """What matters of the text so far."""

    letters: str
    """Its longest end, in letters, that begins a long pattern."""
    form: str
    """Its longest end, with blanks, that begins a short pattern. Of text that ends in a blank, at least that."""
    pending: bytes
    """Of a character that is not complete."""
    refused: frozenset[str]
    """Letters that would go on with a phrase which the prompt has begun past what tells it, or one that begins so."""


class Patterns:
    """Texts of which none must be completed."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = sorted(set(texts))
        self._all = frozenset(self.texts)
        self.longest = max(map(len, self.texts), default=0)
        self._beginnings = frozenset(text[:end] for text in self.texts for end in range(1, len(text)))

    def end_of(self, text: str) -> str:
        """The longest end of ``text`` that begins a pattern; the empty text where none does."""
        for start in range(max(len(text) - self.longest + 1, 0), len(text)):
            if text[start:] in self._beginnings:
                return text[start:]
        return ""

    def ends_of(self, text: str) -> list[str]:
        """All ends of ``text`` that begin a pattern."""
        return [text[start:] for start in range(len(text)) if text[start:] in self._beginnings]

    def left_after(self, begun: str) -> list[str]:
        """What each pattern that begins so still needs."""
        first = bisect_left(self.texts, begun)
        return [text[len(begun) :] for text in self.texts[first : bisect_left(self.texts, begun + _LAST, first)]]

    def begins(self, text: str) -> bool:
        """Whether ``text`` begins with a pattern, of patterns of which none begins with another."""
        last = bisect_right(self.texts, text)
        return last > 0 and text.startswith(self.texts[last - 1])

    def __contains__(self, text: object) -> bool:
        return text in self._all


class Automaton:
    """One set of phrases against one vocabulary. Shared by all requests that carry the set."""

    def __init__(self, args: RestrictionArgs, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self.size = len(args.forbidden)
        long = [one for one in args.forbidden if len(one.letters) >= LONG]
        short = [one for one in args.forbidden if len(one.letters) < LONG]
        self._phrases = sorted(one.letters for one in long)
        self._shortest_telling = min((one.telling for one in long), default=0)
        self._longest = max(map(len, self._phrases), default=0)
        self._long = Patterns(_least(one.letters[: one.telling] for one in long))
        self._short = Patterns(BLANK + text for one in short for text in (one.form, BLANK.join(one.letters)))
        self._tables: dict[State, Ids] = {}
        self._ids = 0
        # Of the ends that many states share. One automaton's own, so that it goes when the automaton goes.
        self._behind_long = lru_cache(maxsize=4096)(self._completing_long)
        self._behind_short = lru_cache(maxsize=4096)(self._completing_short)
        self.always = self._always()
        """Tokens that hold a pattern whole: banned in every state. Ascending."""
        self.softened = self._softened(args.soft)
        """Tokens that begin an associated word: those that bring the blank before it, and those that do not."""

    def start(self, prompt: Sequence[int]) -> State:
        """The state behind a prompt: of its end, back to the last special token."""
        vocabulary = self._vocabulary
        enough = self._longest + self._short.longest
        first, found = len(prompt), 0
        while first > 0 and found < enough and not self._hidden(prompt[first - 1]):
            first -= 1
            found += len(vocabulary.letters[prompt[first]])
        form, pending = vocabulary.read_all(prompt[first:])
        form = join(BLANK, form)
        letters = letters_of(form)
        return State(self._long.end_of(letters), self._border(form), pending, self._going_on(letters))

    def advance(self, state: State, token: int) -> State:
        """The state behind one more token of the answer.

        A special token changes nothing, because a client does not see it: what stands on either side of it
        stands together.
        """
        if self._hidden(token):
            return state
        vocabulary, pending = self._vocabulary, b""
        if state.pending or token in vocabulary.unfinished:
            form, pending = vocabulary.read(state.pending, token)
            letters = letters_of(form)
        else:
            form, letters = vocabulary.forms[token], vocabulary.letters[token]
        return State(
            self._long.end_of(state.letters + letters) if letters else state.letters,
            self._border(join(state.form, form)) if form else state.form,
            pending,
            frozenset() if letters else state.refused,
        )

    def banned(self, state: State) -> Ids:
        """The tokens that must not come next, besides those of ``always``. In any order, some perhaps twice."""
        table = self._tables.get(state)
        if table is None:
            table = self._completing(state)
            self._ids += table.size + 1
            if self._ids > _MOST_IDS:
                self._tables.clear()
                self._ids = table.size + 1
            self._tables[state] = table
        return table

    def at_word_start(self, state: State) -> bool:
        """Whether the next letter begins a word."""
        return state.form.endswith(BLANK)

    def _hidden(self, token: int) -> bool:
        return token in self._vocabulary.special or not 0 <= token < len(self._vocabulary)

    def _border(self, form: str) -> str:
        return self._short.end_of(form) or (BLANK if form.endswith(BLANK) else "")

    def _going_on(self, letters: str) -> frozenset[str]:
        if not self._phrases:
            return frozenset()
        return frozenset(
            phrase[length]
            for length in range(self._shortest_telling, min(len(letters), self._longest) + 1)
            # Past a phrase's telling letters, or past another's which this one's begin with.
            if self._long.begins(letters[-length:])
            for phrase in self._phrases_beginning(letters[-length:])
            if length < len(phrase)
        )

    def _phrases_beginning(self, text: str) -> list[str]:
        first = last = bisect_left(self._phrases, text)
        while last < len(self._phrases) and self._phrases[last].startswith(text):
            last += 1
        return self._phrases[first:last]

    def _always(self) -> Ids:
        vocabulary = self._vocabulary
        found = []
        for pattern in self._long.texts:
            found += [vocabulary.by_letters.beginning(pattern), vocabulary.within_letters.beginning(pattern)]
        for pattern in self._short.texts:
            found += [vocabulary.from_blank.exactly(pattern), vocabulary.from_blank.beginning(pattern + BLANK)]
        return _union(found)

    def _completing(self, state: State) -> Ids:
        vocabulary = self._vocabulary
        # What does not go on with a begun character stands behind a replacement for it, which separates.
        form = join(state.form, BLANK) if state.pending else state.form
        found = [
            vocabulary.breaking(state.pending),
            *(vocabulary.by_letters.beginning(letter) for letter in state.refused),
            *map(self._behind_long, self._long.ends_of(state.letters)),
            *map(self._behind_short, self._short.ends_of(form)),
        ]
        if state.pending:
            going_on = vocabulary.continuations(state.pending)
            found.append(np.asarray([token for token, form in going_on if self._completes(state, form)], np.int64))
        return _joined(found)

    def _completing_long(self, begun: str) -> Ids:
        return _joined(list(map(self._vocabulary.by_letters.beginning, self._long.left_after(begun))))

    def _completing_short(self, begun: str) -> Ids:
        by_form, found = self._vocabulary.by_form, []
        for left in self._short.left_after(begun):
            # Of two blanks, one that is written and one that a token brings, one counts.
            for head in (left, BLANK + left) if begun.endswith(BLANK) else (left,):
                found += [by_form.exactly(head), by_form.beginning(head + BLANK)]
        return _joined(found)

    def _completes(self, state: State, form: str) -> bool:
        letters, joined = letters_of(form), join(state.form, form)
        run = state.letters + letters
        # The end of what is written so far counts as a border: the next token may be one, or the last.
        borders = [index for index, one in enumerate(joined) if one == BLANK] + [len(joined)]
        return (
            letters[:1] in state.refused
            or any(run[start:end] in self._long for start, end in combinations(range(len(run) + 1), 2))
            or any(joined[start:end] in self._short for start, end in combinations(borders, 2))
        )

    def _softened(self, words: Sequence[str]) -> tuple[Ids, Ids]:
        vocabulary = self._vocabulary
        behind_blank, bare = [], []
        for word in words:
            for end in range((len(word) + 1) // 2, len(word)):
                behind_blank.append(vocabulary.by_form.exactly(BLANK + word[:end]))
                bare.append(vocabulary.by_form.exactly(word[:end]))
            behind_blank.append(vocabulary.by_form.beginning(BLANK + word))
            bare.append(vocabulary.by_form.beginning(word))
        return _union(behind_blank), _union(bare)


def _least(texts: Iterable[str]) -> list[str]:
    """Those that begin with no other, which would be completed first."""
    least: list[str] = []
    for text in sorted(texts):
        if not least or not text.startswith(least[-1]):
            least.append(text)
    return least


def _joined(found: list[Ids]) -> Ids:
    """One behind the other. What stands twice does no harm in a table, and to look for it costs more than the rest."""
    some = [ids for ids in found if ids.size]
    return np.concatenate(some) if some else np.empty(0, dtype=np.int64)


def _union(found: list[Ids]) -> Ids:
    return np.unique(_joined(found))
