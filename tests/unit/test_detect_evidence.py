"""What the words of a text say for and against a scope."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from guards.detect.evidence import FEATURES, WORDED, ScopeEvidence, WindowText
from guards.scope import Alias, Items
from tests.fakes.encoder import calibration, embed

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = ("Which architect of Reykjavik built the opera of Montevideo in January?",)


def _words(text: WindowText, *aliases: str) -> dict[str, float]:
    evidence = ScopeEvidence(
        tuple(Alias(alias, 1e-6) for alias in ("Torben Vandermolen", *aliases)),
        Items(EXAMPLES, embed(EXAMPLES)),
        Items((), embed(())),
        calibration().outliers,
    )
    return dict(zip(FEATURES[WORDED], evidence.wording(text), strict=True))


@pytest.mark.parametrize("typed", ["Reykjvaik", "Montevdeo", "Jannuary"])
def test_a_slip_of_a_name_that_the_examples_have_is_no_other_name(typed: str) -> None:
    assert _words(WindowText.of(f"Who built it in {typed}?"))["foreign_name"] == 0.0


@pytest.mark.parametrize("name", ["Stavanger", "January's Reykjaviksson", "Monte", "Vanderpoole"])
def test_another_name_is_foreign(name: str) -> None:
    assert _words(WindowText.of(f"Who built it in {name}?"))["foreign_name"] > 0.0


# The second is in letters that all look like Latin ones, or like digits.
@pytest.mark.parametrize("text", ["кто построил оперу в Ставангере?", "кто построил в Уссве?", "谁建造了歌剧院？"])
@pytest.mark.parametrize("aliases", [(), ("Торбен Вандермолен", "托尔本·范德莫伦")])
def test_a_name_in_another_script_than_the_examples_may_be_one_of_theirs(text: str, aliases: tuple[str, ...]) -> None:
    assert _words(WindowText.of(text), *aliases)["foreign_name"] == 0.0


def test_a_name_with_some_letters_of_another_script_is_another_name() -> None:
    assert _words(WindowText.of("Who built it in Stаvanger?"))["foreign_name"] > 0.0


def test_what_a_name_is_written_with_is_no_other_name() -> None:
    text = WindowText.of("Who was Tobren Vandremolen?")
    assert _words(text)["foreign_name"] > 0.0
    assert _words(text.without({"tobren", "vandremolen"}))["foreign_name"] == 0.0
    assert text.without({"somebody"}) is text


@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_without_case_common_words_are_no_names(change: Callable[[str], str]) -> None:
    asked = "Who is the famous writer that built a house in {}?"
    assert _words(WindowText.of(change(asked.format("it"))))["foreign_name"] == 0.0
    assert _words(WindowText.of(change(asked.format("Stavanger"))))["foreign_name"] > 0.3
    assert _words(WindowText.of(change(asked.format("1987"))))["foreign_name"] > 0.0
