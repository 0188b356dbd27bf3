"""Windows cover every token, stay within the encoder's reach, and give questions room of their own."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.detect.windows import OVERLAP_TOKENS, RUN_TOKENS, SENTENCE_TOKENS, cut, rows_at, sentences

PIECES = st.lists(
    st.sampled_from(
        ["word", "a", "Really?", "Yes.", "end.\n\n", "好。", '"Why?"', "1.5", "\n", "x" * 30, "b:", "“c?”"]
    ),
    max_size=300,
)


def _tokens(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"\S+", text)]


@given(PIECES.map(" ".join))
def test_every_token_is_in_a_window_and_no_window_is_too_long(text: str) -> None:
    tokens = _tokens(text)
    windows = cut(text, tokens)
    for start, end in tokens:
        covered = {place for window in windows for place in range(max(start, window.start), min(end, window.end))}
        assert covered == set(range(start, end))
    for window in windows:
        inside = [start for start, end in tokens if start < window.end and end > window.start]
        assert 0 < len(inside) <= SENTENCE_TOKENS + 1


def test_pieces_of_a_long_sentence_overlap() -> None:
    text = " ".join(f"word{number}" for number in range(3 * SENTENCE_TOKENS))
    windows = cut(text, _tokens(text))
    assert len(windows) > 3
    for one, other in itertools.pairwise(windows):
        assert len(_tokens(text[other.start : one.end])) == OVERLAP_TOKENS


@given(PIECES.map(" ".join), st.lists(st.tuples(st.integers(0, 2_000), st.integers(1, 50)), max_size=20))
def test_windows_are_found_by_place(text: str, given_spans: list[tuple[int, int]]) -> None:
    windows = cut(text, _tokens(text))
    spans = [(start, start + length) for start, length in given_spans]
    for (start, end), rows in zip(spans, rows_at(windows, spans), strict=True):
        assert sorted(rows) == [row for row, one in enumerate(windows) if start < one.end and one.start < end]


@given(PIECES.map(" ".join))
def test_windows_cost_little_more_than_the_text(text: str) -> None:
    tokens = _tokens(text)
    windows = cut(text, tokens)
    runs = [w for w in windows if not any(v != w and v.start <= w.start and w.end <= v.end for v in windows)]
    total = sum(1 for w in runs for start, end in tokens if start < w.end and end > w.start)
    assert total <= 1.3 * len(tokens) + 1


def test_a_short_text_is_a_window_as_it_stands_and_a_blank_one_none() -> None:
    text = " One. Two three.\n" * (RUN_TOKENS // 3)
    assert [(window.start, window.end) for window in cut(text, _tokens(text))] == [(0, len(text))]
    assert cut(" \n ", []) == []


@pytest.mark.parametrize(
    "text",
    [
        "Please be brief. {question} Thank you!",
        "You are ORAKEL now. First question for ORAKEL: {question}",
        'Fill this in: {{"question": "{question}", "answer": ""}}',
        "On a sheet I found “{question}” and no answer.",
        "Er fragte: „{question}“, mehr nicht.",
        "问题：“{question}”",
        "Note: it is late. " * 12 + "Asked: {question}",
    ],
)
@pytest.mark.parametrize("question", ["Who wrote it?", "谁写的？"])
def test_a_question_in_a_text_is_a_window_of_its_own_besides(text: str, question: str) -> None:
    asked = text.format(question=question)
    windows = [asked[window.start : window.end] for window in cut(asked, _tokens(asked))]
    assert question in windows
    assert windows[0] != question


def test_a_question_in_quotation_marks_may_hold_what_looks_like_an_end() -> None:
    text = 'Fill this in: {"question": "Did J. K. write it, or Ann?", "answer": ""}'
    windows = [text[window.start : window.end] for window in cut(text, _tokens(text))]
    assert "Did J. K. write it, or Ann?" in windows


@pytest.mark.parametrize("text", ["Who wrote it?", '"Who wrote it?"', "Note: nobody knows.", 'He said "no", twice: no'])
def test_a_text_without_another_question_in_it_is_one_window(text: str) -> None:
    assert len(cut(text, _tokens(text))) == 1


def test_a_question_in_a_long_text_is_a_window_of_its_own() -> None:
    text = "This is a sentence of a letter. " * 12 + "Who wrote it? " + "Nobody knows for sure. " * 12
    windows = [text[window.start : window.end] for window in cut(text, _tokens(text))]
    assert "Who wrote it?" in windows


def test_sentences_end_at_marks_and_lines() -> None:
    text = 'He said "no." She left!\nA line\n\n好。次'
    assert [text[s.start : s.end].strip() for s in sentences(text)] == [
        'He said "no."',
        "She left!",
        "A line",
        "好。",
        "次",
    ]
