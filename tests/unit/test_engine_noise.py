import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guards.engine import noise
from guards.engine.wire import KINDS, REORDERINGS
from tests.examples import examples

pytestmark = pytest.mark.thorough

HIDDEN = 24
CHANGES = tuple(kind for kind in KINDS if kind not in REORDERINGS)


def rows(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, HIDDEN, generator=torch.Generator().manual_seed(seed))


def draw(count: int, *, sigma: float = 0.5, dimensions: int = 0, seed: int = 3, first: int = 0) -> noise.Draw:
    positions = np.arange(first, first + count, dtype=np.int64)
    return noise.Draw(seed=seed, positions=positions, sigma=sigma, dimensions=dimensions)


def test_every_kind_is_defined_once() -> None:
    assert sorted([*noise.ROWS, *noise.ORDERS]) == sorted(KINDS)
    assert sorted(noise.ORDERS) == sorted(REORDERINGS)


@pytest.mark.parametrize("kind", KINDS)
@examples(25)
@given(cut=st.integers(1, 11), seed=st.integers(0, 2**63 - 1), dimensions=st.integers(0, HIDDEN + 5))
def test_a_row_does_not_depend_on_its_chunk(kind: str, cut: int, seed: int, dimensions: int) -> None:
    base = rows(12)
    whole = noise.corrupt(kind, base, draw(12, seed=seed, dimensions=dimensions, first=40))
    parts = [
        noise.corrupt(kind, base[:cut], draw(cut, seed=seed, dimensions=dimensions, first=40)),
        noise.corrupt(kind, base[cut:], draw(12 - cut, seed=seed, dimensions=dimensions, first=40 + cut)),
    ]
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("kind", CHANGES)
def test_the_base_rows_are_left_alone(kind: str) -> None:
    base = rows(5)
    kept = base.clone()
    changed = noise.corrupt(kind, base, draw(5))
    assert torch.equal(base, kept)
    assert not torch.equal(changed, base)


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("dimensions", [1, 7, HIDDEN, HIDDEN + 9])
def test_only_so_many_dimensions_change(kind: str, dimensions: int) -> None:
    base = rows(6)
    changed = noise.corrupt(kind, base, draw(6, dimensions=dimensions))
    assert ((changed != base).sum(dim=1) == min(dimensions, HIDDEN)).all()


@pytest.mark.parametrize("kind", [kind for kind in CHANGES if kind.endswith("-first")])
def test_first_means_the_leading_dimensions(kind: str) -> None:
    base = rows(6)
    changed = noise.corrupt(kind, base, draw(6, dimensions=5))
    assert torch.equal(changed[:, 5:], base[:, 5:])


@pytest.mark.parametrize("kind", ["gaussian-top", "zero-top", "flip-top", "subtract-top"])
def test_top_means_the_largest_absolute_values(kind: str) -> None:
    base = torch.tensor([[0.1, -5.0, 3.0, 0.2], [4.0, 0.0, 0.3, -0.5]])
    changed = noise.corrupt(kind, base, draw(2, dimensions=2))
    assert (changed != base).tolist() == [[False, True, True, False], [True, False, False, True]]


def test_add_least_raises_the_smallest_absolute_values() -> None:
    base = torch.tensor([[0.1, -5.0, 3.0, -0.2]])
    assert torch.allclose(
        noise.corrupt("add-least", base, draw(1, sigma=0.5, dimensions=2)), torch.tensor([[0.6, -5.0, 3.0, 0.3]])
    )


def test_the_arithmetic_of_the_strengthless_and_the_constant_kinds() -> None:
    base = rows(3)
    assert torch.equal(noise.corrupt("zero-first", base, draw(3)), torch.zeros_like(base))
    assert torch.equal(noise.corrupt("flip-top", base, draw(3)), -base)
    assert torch.allclose(noise.corrupt("subtract-first", base, draw(3, sigma=0.25)), base - 0.25)
    assert torch.allclose(noise.corrupt("subtract-top", base, draw(3, sigma=0.25)), base - 0.25)
    assert torch.allclose(noise.corrupt("add-first", base, draw(3, sigma=0.25)), base + 0.25)


def test_random_dimensions_are_those_of_the_request() -> None:
    base = rows(8)
    changed = noise.corrupt("gaussian-random", base, draw(8, dimensions=4, seed=1)) != base
    assert (changed == changed[0]).all()
    other = noise.corrupt("gaussian-random", base, draw(8, dimensions=4, seed=2)) != base
    assert not torch.equal(changed, other)


def test_noise_has_the_standard_deviation_asked_for() -> None:
    base = torch.zeros(400, HIDDEN)
    added = noise.corrupt("gaussian-first", base, draw(400, sigma=0.3))
    assert added.std().item() == pytest.approx(0.3, rel=0.03)
    assert added.mean().item() == pytest.approx(0, abs=0.01)
    assert torch.equal(noise.corrupt("replace-first", rows(400), draw(400, sigma=0.3)), added)


def test_noise_differs_between_positions_and_between_seeds() -> None:
    base = torch.zeros(2, HIDDEN)
    one = noise.corrupt("gaussian-first", base, draw(2, seed=1))
    assert not torch.equal(one[0], one[1])
    assert not torch.equal(one, noise.corrupt("gaussian-first", base, draw(2, seed=2)))


def test_noise_is_that_of_earlier_versions() -> None:
    # A change here changes what a stored seed and strength mean.
    drawn = noise.corrupt("gaussian-first", torch.zeros(1, 3), draw(1, sigma=1.0, seed=1, first=5))
    assert drawn[0].tolist() == pytest.approx(PINNED, abs=1e-6)


PINNED = [-1.2848005, -0.9573336, 1.2328911]


def test_reordering() -> None:
    positions = np.array([3, 4, 9, 10, 11])
    assert noise.sources("reverse", positions, 1).tolist() == [11, 10, 9, 4, 3]
    shuffled = noise.sources("shuffle", positions, 1)
    assert sorted(shuffled.tolist()) == positions.tolist()
    assert noise.sources("shuffle", positions, 1).tolist() == shuffled.tolist()
    assert noise.sources("gaussian-first", positions, 1) is positions


@given(st.integers(2, 6), st.integers(0, 2**63 - 1))
def test_a_shuffle_moves_something(count: int, seed: int) -> None:
    positions = np.arange(10, 10 + count)
    assert noise.sources("shuffle", positions, seed).tolist() != positions.tolist()
