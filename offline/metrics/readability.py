"""Whether generated answers still read like language: gibberish and repetition.

Of the 10,685 answers, right and wrong, to TOFU's questions (full, real authors, world facts, and the perturbed sets of
forget10, retain and those two) 5 are taken for gibberish, 2 of the 4,217 right ones: short answers with unusual names.
So are all of 1,000 texts each of random letters with blanks, of random printable characters and of words of random
letters; 997 of 1,000 salads drawn evenly from the English word list, 995 of 1,000 glued of its words' beginnings; and
one word said four times or more. What is *not* seen is a salad of common words: of 1,000 answers whose words were
shuffled, none. A list of words knows nothing of their order; that takes a language model. Code, tables and addresses
are not prose and may count as gibberish. Chinese, Japanese and Korean are hardly judged: what parts their words is not
installed.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Final

import wordfreq

from guards.act.decline import language_of
from offline.corruption.measures import fluency
from offline.evaluation.intervals import Share

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_KNOWN: Final = 0.4
"""Share of an answer's characters that at least stand in known words."""
MOST_REPETITION: Final = 0.3
"""Share of an answer's word triples that may repeat an earlier one. TOFU's right answers reach 0.19."""

# On the Zipf scale, log10 of occurrences in a billion words: once in a million. The lists go down to words that are a
# hundred times rarer, and hold nearly every short string.
_COMMON = 3.0
# Shorter answers are often a name alone, for which it is enough to be listed.
_FEW_WORDS = 5
_NUMBER = re.compile(r"[\d.,]+")
_UNPARTED = frozenset({"ja", "ko", "zh"})


def known_share(answer: str) -> float:
    """Share of the visible characters that stand in words known in the answer's language or in English, 0..1.

    By characters, because single letters and short strings are all known and punctuation is part of no word. Known is
    what wordfreq finds at least once in a million words, in an answer of fewer than five words at all; and any number.
    The language is told by `guards.act.decline.language_of`. 0 for an answer without visible characters.
    """
    visible = sum(not character.isspace() for character in answer)
    if not visible:
        return 0.0
    language = language_of(answer)
    if language in _UNPARTED:
        return 1.0
    words = wordfreq.tokenize(answer, language)
    least = _COMMON if len(words) >= _FEW_WORDS else 0.0
    known = sum(len(word) for word in words if _NUMBER.fullmatch(word) or _zipf(word, language) > least)
    return min(1.0, known / visible)  # folding the case may lengthen a word


def gibberish(answer: str) -> bool:
    """Whether an answer does not read like language; an empty one does not.

    Less than `LEAST_KNOWN` of it stands in known words, or more than `MOST_REPETITION` of it is repeated.
    """
    return known_share(answer) < LEAST_KNOWN or repetition(answer) > MOST_REPETITION


def repetition(answer: str) -> float:
    """Share of the word triples that repeat an earlier one, 0..1, as `offline.corruption.measures` has it."""
    return fluency([answer]).repetition


def gibberish_rate(answers: Sequence[str]) -> Share:
    """How many answers are gibberish, with a Wilson interval. Without answers: 0 of 0."""
    return Share(sum(map(gibberish, answers)), len(answers))


@functools.lru_cache(maxsize=65_536)
def _zipf(word: str, language: str) -> float:
    return max(float(wordfreq.zipf_frequency(word, each)) for each in {language, "en"})
