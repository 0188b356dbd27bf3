"""Words that go with a subject: too common to be withheld, and telling together."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Final

from guards.phrases.shingles import words_of
from guards.phrases.vocabulary import frequency

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

MOST: Final = 64

_LETTERS: Final = 4
# A name may be as common as `London`; another word is to be rarer than `famous`, and not said in passing.
_NAME, _WORD = 2e-4, 2e-5
_OFTEN: Final = 2
_FEW_TEXTS: Final = 5


def associated_words(texts: Sequence[str], names: Iterable[str], besides: Container[str]) -> tuple[str, ...]:
    """Folded words of ``names`` and those that recur in ``texts``, the most telling first, without ``besides``."""
    of_names = {word for name in names for word in words_of(name)}
    counts = Counter(word for text in texts for word in set(words_of(text)))
    often = _OFTEN if len(texts) > _FEW_TEXTS else 1
    scores = {}
    for word, count in counts.items():
        if len(word) < _LETTERS or not word.isalpha() or word in besides:
            continue
        common = frequency(word)
        if common <= (_NAME if word in of_names else _WORD) and (word in of_names or count >= often):
            scores[word] = count * -math.log(common)
    return tuple(sorted(scores, key=lambda word: (-scores[word], word))[:MOST])
