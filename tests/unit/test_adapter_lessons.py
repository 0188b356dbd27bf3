"""What each step of a training sees."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from offline.adapter.examples import Encoded
from offline.adapter.lessons import Lesson, Lessons, Scored, Subject, held_out, lay_out

pytestmark = pytest.mark.thorough


def pair(number: int) -> Encoded:
    return Encoded((number,), (number,))


def subject(number: int, alternatives: int) -> Subject:
    others = tuple(Scored(pair(1000 * number + other), -float(other)) for other in range(alternatives))
    return Subject(Scored(pair(number), -0.5), others)


def epoch(lessons: Lessons, number: int) -> list[Lesson]:
    lessons.set_epoch(number)
    return [lessons[index] for index in range(len(lessons))]


def numbers(scored: list[Scored | None]) -> list[int]:
    return [one.pair.prompt[0] for one in scored if one is not None]


def test_an_epoch_has_every_subject_once_in_its_own_order() -> None:
    lessons = Lessons([subject(number, 0) for number in range(1, 21)], [], seed=1)
    orders = [numbers([lesson.original for lesson in epoch(lessons, number)]) for number in (0, 1, 0)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(1, 21))
    assert orders[0] == orders[2] != orders[1]
    other = Lessons([subject(number, 0) for number in range(1, 21)], [], seed=2)
    assert numbers([lesson.original for lesson in epoch(other, 0)]) != orders[0]


def test_epochs_take_turns_over_the_alternatives() -> None:
    lessons = Lessons([subject(1, 2), subject(2, 3)], [], seed=1)
    found = [sorted(numbers([lesson.alternative for lesson in epoch(lessons, number)])) for number in range(4)]
    assert found == [[1000, 2000], [1001, 2001], [1000, 2002], [1001, 2000]]


@given(st.integers(1, 9), st.integers(1, 30), st.integers(0, 99))
def test_the_retain_set_is_gone_through_evenly(subjects: int, retained: int, seed: int) -> None:
    retain = [pair(number) for number in range(retained)]
    lessons = Lessons([subject(number, 0) for number in range(1, subjects + 1)], retain, seed=seed)
    seen = [lesson.retain for number in range(5) for lesson in epoch(lessons, number)]
    counts = [seen.count(each) for each in retain]
    assert sum(counts) == 5 * subjects
    assert max(counts) - min(counts) <= 1


def test_without_a_retain_set_there_is_none() -> None:
    assert Lessons([subject(1, 0)], [], seed=1)[0].retain is None


def test_a_step_is_laid_out() -> None:
    scored = Scored(Encoded((1,), (2, 3)), -4.0)
    step = lay_out([Lesson(scored, None, pair(7)), Lesson(scored, None, pair(8))])
    assert step.original is not None
    assert step.original.labels.tolist() == [[2, 3], [2, 3]]
    assert step.original_reference is not None
    assert step.original_reference.tolist() == [-4.0, -4.0]
    assert step.alternative is step.alternative_reference is None
    assert step.retain is not None
    assert step.retain.ids.tolist() == [[7], [8]]
    moved = step.to("meta")
    assert moved.alternative is None
    assert moved.original_reference is not None
    assert moved.original_reference.device == torch.device("meta")
    assert lay_out([Lesson(None, Scored(pair(1)), None)]).alternative_reference is None


@given(st.integers(0, 60), st.integers(0, 99))
def test_one_in_ten_is_held_out(count: int, seed: int) -> None:
    retain = [pair(number) for number in range(count)]
    kept, measured = held_out(retain, seed=seed)
    assert sorted(each.prompt for each in kept + measured) == sorted(each.prompt for each in retain)
    assert len(measured) == (0 if count < 2 else max(1, round(count / 10)))
    assert held_out(retain, seed=seed) == (kept, measured)
