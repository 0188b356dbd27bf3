"""Restricting an answer: phrases as the engine's logits processor matches them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from guards.engine.folding import spellings
from guards.engine.restriction import MAX_PHRASES, Forbidden, RestrictionArgs, TooManyPhrases
from guards.engine.vocabulary import form_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guards.phrases.phrase import Phrase


def restriction_xargs(
    phrases: Sequence[Phrase], associated: Sequence[str], penalty: float, key: bytes
) -> dict[str, object]:
    """Entries of ``vllm_xargs`` that keep the phrases out of an answer, and make associated words less likely.

    The same phrases in any order give the same entries, which the engine then knows already. No phrase gives
    none: an answer with nothing to keep out is not restricted.

    Args:
        penalty: taken from the logits of tokens that begin an associated word.
        key: shared with the engine (``UNREMEMBER_ENGINE_KEY``).

    Raises:
        TooManyPhrases: of the engine's, in all their spellings.
    """
    wanted, soft = frozenset((one.text, one.telling) for one in phrases), frozenset(associated)
    if len(wanted) > MAX_PHRASES:  # as it is found below, a second later
        raise TooManyPhrases(f"{len(wanted)} phrases, where an engine takes at most {MAX_PHRASES}")
    return dict(_xargs(wanted, soft, penalty, key))


@lru_cache(maxsize=32)
def _xargs(
    phrases: frozenset[tuple[str, int]], associated: frozenset[str], penalty: float, key: bytes
) -> dict[str, str | float]:
    forms = ((form_of(spelt).strip(), telling) for text, telling in phrases for spelt in spellings(text))
    forbidden = sorted({_forbidden(form, telling) for form, telling in forms if form})
    soft = sorted({form for form in (form_of(word).strip() for word in associated) if form})
    return RestrictionArgs(tuple(forbidden), tuple(soft), penalty).to_xargs(key) if forbidden else {}


def _forbidden(form: str, telling: int) -> Forbidden:
    letters = len(form.replace(" ", ""))
    return Forbidden(form, min(max(telling, 1), letters))
