"""The vector index against a search through all vectors, whatever is added, removed and built meanwhile."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from guards.detect import index as index_module
from guards.detect.index import VectorIndex
from guards.detect.levels import ITEMS, InvertedLevel, Level
from tests.examples import examples

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

DIMENSION = 8
CROSSOVER = 60
# Vectors of those found that a search compares exactly.
EXACTLY = 4_096


def _unit(seed: int, count: int, spread: float = 1.0) -> NDArray[np.float32]:
    draw = np.random.default_rng(seed)
    rows = draw.normal(size=DIMENSION) + spread * draw.normal(size=(count, DIMENSION))
    unit: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _nearest(held: dict[str, NDArray[np.float32]], row: NDArray[np.float32], requests: int) -> dict[str, float]:
    best = {request: float((vectors @ row).max()) for request, vectors in held.items() if len(vectors)}
    return dict(sorted(best.items(), key=lambda item: -item[1])[:requests])


class Against(RuleBasedStateMachine):
    """Builds run when the machine says so: anything may happen between a build's beginning and its swap."""

    @initialize()
    def begin(self) -> None:
        self.held: dict[str, NDArray[np.float32]] = {}
        self.waiting: list[Callable[[], None]] = []
        self.index = VectorIndex(DIMENSION, crossover=CROSSOVER, start=self.waiting.append)

    @rule(
        request=st.integers(0, 30),
        count=st.one_of(st.integers(0, 20), st.just(300)),
        seed=st.integers(0, 2**16),
        spread=st.sampled_from([0.0, 0.05, 1.0]),
    )
    def add(self, request: int, count: int, seed: int, spread: float) -> None:
        self.held[f"r{request}"] = _unit(seed, count, spread)
        self.index.add(f"r{request}", self.held[f"r{request}"])

    @rule(request=st.integers(0, 31))
    def remove(self, request: int) -> None:
        self.held.pop(f"r{request}", None)
        self.index.remove(f"r{request}")

    @precondition(lambda self: self.waiting)
    @rule()
    def finish_build(self) -> None:
        self.waiting.pop(0)()

    @rule(seed=st.integers(0, 2**16), rows=st.integers(0, 3), requests=st.integers(1, 20))
    def search(self, seed: int, rows: int, requests: int) -> None:
        asked = _unit(seed, rows)
        found = self.index.search(asked, requests)
        assert len(found) == rows
        for row, best in zip(asked, found, strict=True):
            everything = _nearest(self.held, row, len(self.held))
            assert len(best) == min(requests, len(everything))
            assert sorted(best.values(), reverse=True) == list(best.values())
            if all(level.size <= ITEMS or type(level) is Level for level in self.index._levels):
                assert list(best.values()) == pytest.approx(list(everything.values())[:requests], abs=1e-5)
            # By four-bit codes, what is nearest may be overlooked among very many; nothing is made up.
            assert all(similarity <= everything[request] + 1e-5 for request, similarity in best.items())
            if sum(map(len, self.held.values())) <= EXACTLY:
                assert best == pytest.approx({request: everything[request] for request in best}, abs=1e-5)

    @invariant()
    def holds_what_it_was_given(self) -> None:
        if hasattr(self, "held"):
            assert len(self.index) == sum(map(len, self.held.values()))
            assert len(self.waiting) <= 1


TestAgainstBruteForce = Against.TestCase
TestAgainstBruteForce.settings = examples(40, stateful_step_count=30)


def _levels(index: VectorIndex) -> list[type[Level]]:
    return [type(level) for level in index._levels]


def test_the_kind_follows_the_size_and_a_build_does_not_hold_up_changes() -> None:
    index = VectorIndex(DIMENSION, crossover=CROSSOVER)
    index.add("few", _unit(1, 5))
    assert _levels(index) == [Level]
    for number in range(100):
        index.add(f"r{number}", _unit(number, 10))
        index.remove(f"r{number - 50}")
    index.settle()
    assert InvertedLevel in _levels(index)
    assert len(index) == 5 + 50 * 10
    assert index.search(_unit(99, 1), 1)[0].keys() == {"r99"}


def test_settled_is_an_index_with_no_further_build_due() -> None:
    builds: list[Callable[[], None]] = []
    index = VectorIndex(DIMENSION, crossover=CROSSOVER, start=builds.append)
    index.add("first", _unit(0, 10 * CROSSOVER))
    index.add("second", _unit(1, CROSSOVER))
    waiting = threading.Thread(target=index.settle)
    waiting.start()
    builds.pop()()
    waiting.join(0.1)
    assert waiting.is_alive(), "what was added during the build is not built yet"
    builds.pop()()
    waiting.join(10)
    assert not waiting.is_alive()


def test_levels_that_lost_their_vectors_give_the_memory_back() -> None:
    index = VectorIndex(DIMENSION, crossover=CROSSOVER)
    for number in range(40):
        index.add(f"r{number}", _unit(number, 10))
        index.settle()
    for number in range(39):
        index.remove(f"r{number}")
        index.settle()
    assert sum(level.size for level in index._levels) <= 2 * len(index) == 20
    index.remove("r39")
    assert _levels(index) == []
    assert index.search(_unit(1, 2), 3) == [{}, {}]


def test_a_request_with_most_of_the_items_hides_no_other() -> None:
    index = VectorIndex(DIMENSION, crossover=CROSSOVER)
    index.add("most", _unit(5, 5_000, 0.01))
    index.add("other", -_unit(5, 3, 0.01))
    index.settle()
    assert [list(found) for found in index.search(_unit(5, 2, 0.01), 4)] == [["most", "other"]] * 2


def test_the_cosine_told_is_that_of_the_nearest_item_wherever_it_lies() -> None:
    held = {f"r{number}": _unit(number, 10) for number in range(3_000)}
    level = InvertedLevel(held)
    for row in _unit(-1 % 2**16, 20):
        found = level.search(row[None], 16)[0]
        assert len(found) >= 16
        assert found == pytest.approx({request: float((held[request] @ row).max()) for request in found}, abs=1e-5)


def test_a_request_of_very_many_items_is_told_by_those_looked_at_and_keeps_no_other_from_being_exact() -> None:
    held = {"most": _unit(5, EXACTLY + 1, 0.5)} | {f"r{number}": _unit(number, 10) for number in range(100)}
    row = _unit(5, 1)[0]
    exact = _nearest(held, row, len(held))
    found = InvertedLevel(held).search(row[None], 16)[0]
    assert found.pop("most") <= exact["most"] + 1e-5
    assert found == pytest.approx({request: exact[request] for request in found}, abs=1e-5)
    assert len(found) >= 15


class Failing(InvertedLevel):
    def _build(self) -> Any:
        raise MemoryError("of the name Zelda")


def _holds(index: VectorIndex, held: dict[str, NDArray[np.float32]]) -> bool:
    row = _unit(3, 1)
    return len(index) == sum(map(len, held.values())) and index.search(row, 99)[0] == pytest.approx(
        _nearest(held, row[0], 99), abs=1e-5
    )


def test_a_thread_that_cannot_be_started_keeps_nothing_from_being_found_or_built_later() -> None:
    works = False

    def start(work: Callable[[], None]) -> None:
        if not works:
            raise RuntimeError("can't start new thread")
        work()

    index, held = VectorIndex(DIMENSION, crossover=CROSSOVER, start=start), {}
    for number in range(12):
        held[f"r{number}"] = _unit(number, 10)
        index.add(f"r{number}", held[f"r{number}"])
        index.settle()
    assert InvertedLevel not in _levels(index)
    assert _holds(index, held)
    works = True
    for number in range(12, 24):
        held[f"r{number}"] = _unit(number, 10)
        index.add(f"r{number}", held[f"r{number}"])
    assert InvertedLevel in _levels(index)
    assert _holds(index, held)


def test_a_failed_build_of_what_was_lost_meanwhile_is_not_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    builds: list[Callable[[], None]] = []
    index = VectorIndex(DIMENSION, crossover=CROSSOVER, start=builds.append)
    index.add("lost", _unit(0, CROSSOVER))
    builds.pop()()
    index.add("kept", _unit(1, CROSSOVER))
    index.remove("lost")
    monkeypatch.setattr(index_module, "InvertedLevel", Failing)
    builds.pop()()
    assert builds == []
    index.settle()
    assert len(index._levels) == 1
    assert _holds(index, {"kept": _unit(1, CROSSOVER)})


def test_a_swap_that_fails_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    builds: list[Callable[[], None]] = []
    index = VectorIndex(DIMENSION, crossover=CROSSOVER, start=builds.append)
    held = {f"r{number}": _unit(number, 20) for number in range(4)}
    for request, vectors in held.items():
        index.add(request, vectors)
    index.remove("r1")
    with monkeypatch.context() as patch:
        patch.setattr(Level, "_clear", lambda *_: 1 / 0)
        builds.pop()()
    index.settle()
    index.remove("r0")
    assert _holds(index, {"r2": held["r2"], "r3": held["r3"]})


def test_a_build_that_fails_leaves_the_exact_search(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(index_module, "InvertedLevel", Failing)
    index = VectorIndex(DIMENSION, crossover=CROSSOVER)
    with caplog.at_level(logging.DEBUG):
        for number in range(12):
            index.add(f"r{number}", _unit(number, 10))
            index.settle()
    assert len(index) == 120
    assert _nearest({f"r{n}": _unit(n, 10) for n in range(12)}, _unit(3, 1)[0], 1).keys() == {"r3"}
    assert index.search(_unit(3, 1), 1)[0].keys() == {"r3"}
    assert caplog.text.count("could not be built: MemoryError") == 2
    assert "Zelda" not in caplog.text
