"""Terms that keep what is not to be withheld as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from offline.adapter.answers import Answers

Term: TypeAlias = "Callable[[Answers, Callable[[], Answers]], Tensor]"
"""Of the current answers, and of what the model without the adapter says of them, computed when called; a scalar."""


def nll(current: Answers, reference: Callable[[], Answers]) -> Tensor:
    """The mean over answer tokens of -log p(y), in nats. The reference is not asked for."""
    return current.nll()


def kl(current: Answers, reference: Callable[[], Answers]) -> Tensor:
    """KL(reference || current): the mean over answer tokens of sum_v p_ref(v) (log p_ref(v) - log p(v)), in nats."""
    before = reference().logits.log_softmax(-1)
    return current.mean((before.exp() * (before - current.logits.log_softmax(-1))).sum(-1))


TERMS: Final[Mapping[str, Term]] = {"kl": kl, "nll": nll}
"""By the name that a recipe gives."""
