"""A takedown's phrases: verbatim runs of words of the given texts, or their hashes where there are too many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from guards.phrases.commonness import ACCEPTABLE, assessed
from guards.phrases.phrase import PhraseClass
from guards.phrases.shingles import RUN, hashes, words_of
from guards.phrases.vocabulary import frequency

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from guards.phrases.passages import Passages
    from guards.phrases.phrase import Phrase

MOST_WORDS: Final = 2_000
"""Up to so many words of text are kept as phrases, which are found in any spelling; more as hashes of their words."""

_STRIDE: Final = 4
"""A run begins at every fourth word, so that any quotation of ``RUN + 3`` words holds one whole."""

# A run with no word rarer than this (as common as `would` or `about`) is a turn of phrase, not a quotation.
_COMMON: Final = 1e-3


def quotations(
    texts: Iterable[str], kept: Sequence[str], background: Passages
) -> tuple[tuple[Phrase, ...], NDArray[np.uint64] | None]:
    """Phrases and shingles of texts to be withheld; what ``kept`` texts contain too may be said.

    Of a text of fewer than ``RUN`` words there is nothing to quote at length.
    """
    given = [words for text in texts if (words := words_of(text))]
    if sum(map(len, given)) > MOST_WORDS:
        return (), _shingles(given, kept)
    kept_runs = {run for text in kept for run in _runs(words_of(text), 1)}
    runs = {run: None for words in given for run in _runs(words, _STRIDE)}
    quoted = [" ".join(run) for run in runs if run not in kept_runs and _telling(run)]
    phrases = (assessed(text, PhraseClass.FACT, background, quoted=True) for text in quoted)
    return tuple(phrase for phrase in phrases if phrase.innocent_rate <= ACCEPTABLE[PhraseClass.FACT]), None


def _runs(words: Sequence[str], stride: int) -> Iterator[tuple[str, ...]]:
    last = len(words) - RUN
    if last < 0:
        return
    for first in (*range(0, last, stride), last):
        yield tuple(words[first : first + RUN])


def _telling(run: Sequence[str]) -> bool:
    return any(frequency(word) < _COMMON for word in run)


def _shingles(given: Iterable[Sequence[str]], kept: Iterable[str]) -> NDArray[np.uint64]:
    found = [np.zeros(0, dtype=np.uint64)]
    for words in given:
        telling = np.array([_telling((word,)) for word in words], dtype=np.int64)
        in_run = np.convolve(telling, np.ones(RUN, dtype=np.int64), mode="valid") if len(words) >= RUN else telling[:0]
        found.append(hashes(words)[in_run > 0])
    sayable = [hashes(words_of(text)) for text in kept]
    return np.setdiff1d(np.concatenate(found), np.concatenate([found[0], *sayable]))
