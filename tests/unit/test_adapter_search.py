"""A step of the optimiser that a loss stretches, on one parameter."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from offline.adapter.loop import Search
from offline.adapter.losses.ngdiff import NgDiff

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.thorough


def searched(retain: Callable[[torch.Tensor], torch.Tensor], *, step: int, every: int = 1) -> tuple[float, float]:
    """Where a step from 0 to 1 ends, and the learning rate after it, when it was 0.5."""
    place = torch.nn.Parameter(torch.tensor(0.0))
    trainer: Any = SimpleNamespace(
        model=SimpleNamespace(parameters=lambda: [place]),
        last_retain="a batch",
        retain_loss=lambda batch: retain(place),
    )
    search = Search(trainer, NgDiff(every=every, most=4.0), every)
    state, scheduler = SimpleNamespace(global_step=step), SimpleNamespace(base_lrs=[0.5])
    search.on_pre_optimizer_step(None, state, None)
    with torch.no_grad():
        place.add_(1.0)
    search.on_optimizer_step(None, state, None, lr_scheduler=scheduler)
    return place.item(), scheduler.base_lrs[0]


def test_the_step_ends_at_the_lowest_retain_loss() -> None:
    assert searched(lambda x: (x - 3) ** 2, step=0) == pytest.approx((3.0, 1.5))
    assert searched(lambda x: (x - 0.5) ** 2, step=0) == pytest.approx((0.5, 0.25))


def test_bounds_hold_and_what_rises_is_cut_short() -> None:
    assert searched(lambda x: (x - 9) ** 2, step=0) == pytest.approx((4.0, 2.0))
    assert searched(lambda x: (x + 1) ** 2, step=0) == pytest.approx((0.25, 0.125))


def test_without_a_lowest_point_the_step_stays() -> None:
    assert searched(lambda x: -(x**2), step=0) == pytest.approx((1.0, 0.5))


def test_other_steps_are_left_alone() -> None:
    assert searched(lambda x: (x - 3) ** 2, step=2, every=2) == pytest.approx((1.0, 0.5))
    assert searched(lambda x: (x - 3) ** 2, step=3, every=2) == pytest.approx((3.0, 1.5))
