"""ROUGE-L and MUSE's means of it against counted words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.metrics.muse import knowledge_memorisation, verbatim_memorisation
from offline.metrics.overlap import Overlap, mean_rouge_l, rouge_l

if TYPE_CHECKING:
    from collections.abc import Callable

CAT = ("The cat sat on the mat.", "the CAT, the mat")
"""Six words and four; all of the answer's four in the order of the reference."""


def test_words_in_order_over_words() -> None:
    found = rouge_l(*CAT)
    assert (found.recall, found.precision, found.f1) == pytest.approx((4 / 6, 4 / 4, 0.8))
    # One of two in order: "mat cat" has the words, not their order.
    assert rouge_l("cat mat", "mat cat").recall == 0.5


def test_stems_are_compared_unless_told_otherwise() -> None:
    assert rouge_l("writing books", "writes book") == Overlap(1.0, 1.0, 1.0)
    assert rouge_l("writing books", "writes book", stemmed=False) == Overlap(0.0, 0.0, 0.0)


@pytest.mark.parametrize("answer", ["", "…", "猫"])
def test_an_answer_without_words_has_no_overlap(answer: str) -> None:
    assert rouge_l("the cat", answer) == Overlap(0.0, 0.0, 0.0)


@pytest.mark.parametrize("reference", ["", "?!", "猫"])
def test_a_reference_without_words_is_refused(reference: str) -> None:
    with pytest.raises(ValueError, match="at least one word"):
        rouge_l(reference, "the cat")


def test_a_mean_over_pairs() -> None:
    found = mean_rouge_l([CAT, ("dog", "cat")])
    assert (found.recall, found.precision, found.f1) == pytest.approx((2 / 6, 1 / 2, 0.4))
    with pytest.raises(ValueError, match="one pair"):
        mean_rouge_l([])


@given(st.text(), st.text())
def test_overlap_is_a_share_and_turns_with_its_texts(one: str, other: str) -> None:
    one, other = f"a {one}", f"b {other}"
    found, turned = rouge_l(one, other), rouge_l(other, one)
    assert 0.0 <= min(found.recall, found.precision) <= found.f1 + 1e-12
    assert found.f1 <= max(found.recall, found.precision) + 1e-12 <= 1.0 + 1e-9
    assert (found.recall, found.f1) == pytest.approx((turned.precision, turned.f1))


@pytest.mark.parametrize("metric", [verbatim_memorisation, knowledge_memorisation])
def test_muse_takes_f1_of_words_as_they_are(metric: Callable[..., float]) -> None:
    # 0.8 and nothing of two, which stems would make all.
    assert metric([CAT, ("writing books", "writes book")]) == pytest.approx(0.4)
    with pytest.raises(ValueError):
        metric([])
