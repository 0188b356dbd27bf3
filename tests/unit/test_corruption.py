import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.act.corruption import cache_salt, everything_but_last, token_spans
from guards.engine.wire import MAX_SPANS, CorruptionArgs

ARGS = CorruptionArgs("gaussian-first", 1.5, 0, 7, (2, 4), 12)
# Characters of "<s>", "Who", " wrote", " Harry", " Potter", "?", "</s>" with empty ranges for the special ones.
OFFSETS = [(0, 0), (0, 3), (3, 9), (9, 15), (15, 22), (22, 23), (0, 0)]


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ([(10, 22)], (3, 5)),
        ([(10, 15), (16, 22)], (3, 5)),
        ([(16, 22), (0, 3)], (1, 2, 4, 5)),
        ([(12, 13)], (3, 4)),
        ([(14, 16)], (3, 5)),
        ([(22, 23)], (5, 6)),
        ([(0, 100)], (1, 6)),
    ],
)
def test_tokens_that_share_a_character(targets: list[tuple[int, int]], expected: tuple[int, ...]) -> None:
    assert token_spans(OFFSETS, targets, 7) == expected


@pytest.mark.parametrize("targets", [[], [(5, 5)], [(40, 50)]])
def test_without_a_token_everything_but_the_last(targets: list[tuple[int, int]]) -> None:
    assert token_spans(OFFSETS, targets, 7) == (0, 6)


def test_offsets_of_another_prompt() -> None:
    assert token_spans(OFFSETS, [(10, 22)], 9) == (0, 8)


def test_more_spans_than_the_engine_takes() -> None:
    count = 2 * MAX_SPANS + 2
    offsets = [(index, index + 1) for index in range(count)]
    targets = [(index, index + 1) for index in range(0, count, 2)]
    assert token_spans(offsets, targets, count) == (0, count - 1)


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(0, 70), st.integers(0, 70)), max_size=6),
)
def test_the_spans_are_always_ones_the_engine_accepts(lengths: list[int], targets: list[tuple[int, int]]) -> None:
    offsets, at = [], 0
    for length in lengths:
        offsets.append((at, at + length))
        at += length
    spans = token_spans(offsets, targets, len(offsets))
    CorruptionArgs("gaussian-first", 1.0, 0, 0, spans, len(offsets))


@given(
    st.lists(st.integers(0, 4), min_size=2, max_size=30),
    st.lists(st.tuples(st.integers(0, 70), st.integers(0, 70)), max_size=6),
)
def test_a_token_is_in_exactly_if_it_shares_a_character(lengths: list[int], targets: list[tuple[int, int]]) -> None:
    offsets, at = [], 0
    for length in lengths:
        offsets.append((at, at + length))
        at += length
    characters = {character for low, high in targets for character in range(low, high)}
    expected = [index for index, (low, high) in enumerate(offsets) if characters & set(range(low, high))]
    spans = token_spans(offsets, targets, len(offsets))
    chosen = [index for low, high in zip(spans[::2], spans[1::2], strict=True) for index in range(low, high)]
    assert chosen == (expected or list(range(len(offsets) - 1)))


def test_everything_but_last() -> None:
    assert everything_but_last(5) == (0, 4)
    assert everything_but_last(1) == (0, 1)
    with pytest.raises(ValueError, match="at least one"):
        everything_but_last(0)


@pytest.mark.parametrize(
    "other",
    [
        cache_salt(b"other key", ARGS),
        cache_salt(b"key", dataclasses.replace(ARGS, spans=(2, 5))),
        cache_salt(b"key", dataclasses.replace(ARGS, seed=8)),
        cache_salt(b"key", ARGS, client_salt="tenant"),
    ],
)
def test_the_salt_tells_apart(other: str) -> None:
    assert other != cache_salt(b"key", ARGS)


def test_the_salt_is_one_that_vllm_takes() -> None:
    salt = cache_salt(b"key", ARGS, client_salt="\ud800 any text")
    assert re.fullmatch(r"[0-9a-f]{64}", salt)
    assert salt == cache_salt(b"key", dataclasses.replace(ARGS), client_salt="\ud800 any text")
