"""ROUGE-L (Lin, 2004): the longest common subsequence of words of an answer and a reference, by Google's package."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

_WORD = re.compile("[a-z0-9]")


@dataclass(frozen=True, slots=True)
class Overlap:
    """The length of the longest common subsequence over those of the texts, each 0..1."""

    recall: float
    """Over the reference's words."""
    precision: float
    """Over the answer's words; 0 for an answer without words."""
    f1: float
    """Harmonic mean of the two; 0 if both are 0."""


def rouge_l(reference: str, answer: str, *, stemmed: bool = True) -> Overlap:
    """ROUGE-L of an answer. ``stemmed`` compares words by their English (Porter) stems, as TOFU's code does.

    Words are runs of the letters a to z and of digits, in small letters: other scripts have none.

    Raises:
        ValueError: the reference has no words.
    """
    if not _WORD.search(reference.lower()):
        raise ValueError("a reference for ROUGE has at least one word of the letters a to z or digits")
    found = _scorer(stemmed).score(reference, answer)["rougeL"]
    return Overlap(float(found.recall), float(found.precision), float(found.fmeasure))


def mean_rouge_l(pairs: Iterable[tuple[str, str]], *, stemmed: bool = True) -> Overlap:
    """Means of `rouge_l` over pairs of reference and answer.

    Raises:
        ValueError: there are no pairs, or a reference has no words.
    """
    found = [rouge_l(reference, answer, stemmed=stemmed) for reference, answer in pairs]
    if not found:
        raise ValueError("a mean of ROUGE needs at least one pair")
    return Overlap(
        fmean(each.recall for each in found),
        fmean(each.precision for each in found),
        fmean(each.f1 for each in found),
    )


@functools.cache
def _scorer(stemmed: bool) -> Any:
    from rouge_score.rouge_scorer import RougeScorer  # seconds, which only who measures waits

    return RougeScorer(["rougeL"], use_stemmer=stemmed)
