"""Dates in whatever way they are written, and what they say about a scope."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.detect.evidence import FEATURES, ScopeEvidence, WindowText
from guards.detect.ood import OutlierModel
from guards.detect.values import Values
from guards.scope import Items

DAYS = st.dates(dt.date(1000, 1, 1), dt.date(2099, 12, 31))
FORMS = (
    "{0:%B} {0.day}, {0.year:04d}",
    "{0.day} {0:%B} {0.year:04d}",
    "the {0.day}th of {0:%B}, {0.year:04d}",
    "{0:%b} {0.day} {0.year:04d}",
    "{0:%B} {0.day}th, {0.year:04d}",
    "{0.day}/{0.month}/{0.year:04d}",
    "{0.month}/{0.day}/{0.year:04d}",
    "{0.year:04d}-{0.month:02d}-{0.day:02d}",
    "the {0.day}th day of {0:%B} {0.year:04d}",
)


@given(DAYS, st.sampled_from(FORMS), st.sampled_from(["", " in Porto", ", at sea", "."]))
def test_a_date_is_read_in_every_form(day: dt.date, form: str, rest: str) -> None:
    values = Values.of(f"Who was born on {form.format(day)}{rest}")
    assert any(day in readings for readings in values.dates)
    assert day.year in values.years


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    assert len(Values.of(text).dates) <= len(text)


def test_what_may_be_two_days_is_both() -> None:
    (readings,) = Values.of("born on 08/09/1956").dates
    assert readings == {dt.date(1956, 8, 9), dt.date(1956, 9, 8)}


@pytest.mark.parametrize("text", ["version 1.2.3456.7", "call 555-1234", "from 12 to 14", "99/99/9999", ""])
def test_other_numbers_are_no_dates(text: str) -> None:
    assert Values.of(text).dates == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Which poet was born on 7 May 1902?", (1.0, 0.0)),
        ("Which poet was born on May 7th, 1902?", (1.0, 0.0)),
        ("Which poet was born on 8 May 1902?", (0.0, 1.0)),
        ("Which poet was born in 1902?", (0.5, 0.0)),
        ("Which poet was born in 1903?", (0.0, 0.5)),
        ("Which poet was born in Ghent?", (0.0, 0.0)),
    ],
)
def test_dates_speak_for_or_against_a_scope(text: str, expected: tuple[float, float]) -> None:
    assert _worded("Livia was born in Ghent on 7 May 1902.", text)[-2:] == expected


def test_dates_say_nothing_about_a_scope_without_any() -> None:
    assert _worded("Livia was born in Ghent.", "Which poet was born on 8 May 1902?")[-2:] == (0.0, 0.0)


def test_names_from_the_examples_count_and_others_against() -> None:
    worded = dict(zip(FEATURES[3:8], _worded("Livia lived in Quelmond.", "Who came to Quelmond?"), strict=True))
    assert worded["known_name"] > 0.5
    assert worded["foreign_name"] == 0.0
    worded = dict(zip(FEATURES[3:8], _worded("Livia lived in Quelmond.", "Who came to Zarvik?"), strict=True))
    assert worded["known_name"] == 0.0
    assert worded["foreign_name"] > 0.5


def _worded(item: str, text: str) -> tuple[float, ...]:
    one = np.ones((1, 1), dtype=np.float32)
    outliers = OutlierModel(np.zeros(1, np.float32), one, 1.0, 1.0)
    evidence = ScopeEvidence((), Items((item,), one), Items((), np.empty((0, 1), np.float32)), outliers)
    return evidence.wording(WindowText.of(text))


@pytest.mark.parametrize("asked", ["Кто приехал в Кельмонд?", "谁来到了奎尔蒙德"])
def test_a_name_in_another_script_may_be_the_scopes_own(asked: str) -> None:
    assert dict(zip(FEATURES[3:8], _worded("Livia lived in Quelmond.", asked), strict=True))["foreign_name"] == 0.0
