"""MUSE's memorisation metrics (Shi et al., 2024): how much of a corpus a system still recites and knows.

Both are means of ROUGE-L F1 without stemming, as the authors' code has it; OpenUnlearning takes F1 too, but stems.
The tables of the paper are in per cent. Its PrivLeak is in `offline.metrics.membership`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from offline.metrics.overlap import mean_rouge_l

if TYPE_CHECKING:
    from collections.abc import Iterable

CONTINUATION_TOKENS: Final = 128
"""How long VerbMem's continuations are: greedy ones, and the true ones as well, in the model's tokens."""
ANSWER_TOKENS: Final = 32
"""How long KnowMem's answers may be. The authors ask with examples, and end an answer where a blank line or the next
``Question:`` begins."""


def verbatim_memorisation(pairs: Iterable[tuple[str, str]]) -> float:
    """VerbMem, 0..1, of pairs of a passage's true continuation and the one generated after its beginning.

    Raises:
        ValueError: there are no pairs, or a true continuation has no words that ROUGE counts.
    """
    return mean_rouge_l(pairs, stemmed=False).f1


def knowledge_memorisation(pairs: Iterable[tuple[str, str]]) -> float:
    """KnowMem, 0..1, of pairs of true and generated answer; on the forget set or, as utility, on the retain set.

    Raises:
        ValueError: there are no pairs, or a true answer has no words that ROUGE counts.
    """
    return mean_rouge_l(pairs, stemmed=False).f1
