"""Multiple choice: what was chosen, and how often it was right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.evaluation.intervals import Share
from offline.metrics.choice import accuracy, best_option, stated_option


def test_the_most_probable_option_by_mean_or_by_sum() -> None:
    options = [[-1.0, -1.0, -1.0], [-2.0], [-4.0, -4.0]]
    assert best_option(options) == 0
    assert best_option(options, normalised=False) == 1
    assert best_option([[-2.0], [-1.0], [-1.0]]) == 1
    with pytest.raises(ValueError, match="options"):
        best_option([])


@pytest.mark.parametrize(
    ("answer", "option"),
    [
        ("B", 1),
        ("b", 1),
        ("(B) Paris", 1),
        ("(b) Paris", 1),
        ("b) Paris", 1),
        ("B. Paris", 1),
        ("B: Paris", 1),
        ("B, because of its tower", 1),
        ("**B**", 1),
        ("D - Paris", 3),
        ("A", 0),
        ("A. Paris", 0),
        ("A) Paris", 0),
        ("The answer is C.", 2),
        ("The answer is C because of its tower", 2),
        ("The correct answer is: **(C)** Paris", 2),
        ("Answer: C", 2),
        ("A: The answer is C", 2),
        ("I would go with option D.", 3),
        ("The answer is A.", 0),
        ("It must be (C), as I said (C).", 2),
        ("B is wrong. The answer is C", 2),
    ],
)
def test_a_letter_is_read(answer: str, option: int) -> None:
    assert stated_option(answer) == option


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Paris",
        "A city on the Seine",
        "I know that it is Paris",
        "Bananas",
        "D-Day was in June",
        "The answer is a city",
        "The answer is A Tale of Two Cities",
        "The answer is Charles Dickens",
        "Either (A) or (B)",
        "(F) is not among them",
        "C's capital",
    ],
)
def test_no_letter_is_read_into_words(answer: str) -> None:
    assert stated_option(answer) is None


def test_there_may_be_more_options() -> None:
    assert stated_option("(F) Paris", options=6) == 5
    for options in (1, 27):
        with pytest.raises(ValueError, match="lettered"):
            stated_option("A", options=options)


@given(st.text(), st.integers(2, 26))
def test_whatever_is_answered_an_option_is_one_of_them(answer: str, options: int) -> None:
    assert stated_option(answer, options) in {None, *range(options)}


def test_accuracy_has_wilsons_interval() -> None:
    """Newcombe (Statistics in Medicine 17, 1998, 857), table I, method 3: 0 of 20."""
    assert accuracy([None] * 20, [0] * 20) == Share(0, 20)
    assert accuracy([None] * 20, [0] * 20).interval == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert accuracy([1, None, 2, 0], [1, 1, 2, 2]) == Share(2, 4)
    assert accuracy([], []).interval == (0.0, 1.0)
    with pytest.raises(ValueError):
        accuracy([1], [1, 2])
