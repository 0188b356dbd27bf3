"""What is done about what was found."""

from __future__ import annotations

from typing import Any

import pytest

from guards.plan import Band, Detection, Plan, Span, make_plan
from guards.scope import Action, Context, Mode, Policy
from tests.fakes.gateway import EVIDENCE

DECLINE, CORRUPT, RESTRICT = Action.DECLINE, Action.CORRUPT, Action.RESTRICT


def found(request_id: str, *actions: Action, segments: tuple[int, ...] = (0,), **more: Any) -> Detection:
    """A detection whose policy does the same in both bands."""
    fields = {"mode": Mode.ENFORCE, "band": Band.HIGH} | more
    return Detection(
        request_id=request_id,
        version=1,
        policy=Policy(actions, actions, Context.SUPPLIED),
        probability=0.9,
        threshold=0.5,
        margin=0.4,
        segments=segments,
        spans=tuple(Span(segment, 0, 1) for segment in segments),
        evidence=EVIDENCE,
        **fields,
    )


def planned(*detections: Detection, corruptible: bool = True, restrictable: bool = True) -> Plan:
    return make_plan(detections, corruptible=corruptible, restrictable=restrictable)


def done(plan: Plan) -> dict[Action, tuple[tuple[str, ...], tuple[int, ...]]]:
    return {each.action: (each.request_ids, each.segments) for each in plan.interventions}


@pytest.mark.parametrize("action", Action)
def test_where_supplied_text_alone_comes_near_names_are_watched_for_and_nothing_is_done(action: Action) -> None:
    plan = planned(found("a", action), found("b", action, segments=(), band=Band.LOW))
    assert done(plan) == {action: (("a",), (0,))}
    assert (plan.watched, plan.judged) == (("a", "b"), ("a",))
    assert not planned(found("b", action, segments=(), band=Band.LOW))


def test_what_is_declined_for_one_is_not_corrupted_for_another() -> None:
    plan = planned(found("a", DECLINE, segments=(0,)), found("b", CORRUPT, RESTRICT, segments=(0, 1)))
    assert done(plan) == {DECLINE: (("a",), (0,)), CORRUPT: (("b",), (1,)), RESTRICT: (("b",), (0, 1))}


def test_what_cannot_be_corrupted_is_declined_and_what_cannot_be_restricted_is_watched() -> None:
    plan = planned(found("a", CORRUPT, RESTRICT), corruptible=False, restrictable=False)
    assert done(plan) == {DECLINE: (("a",), (0,))}
    assert plan.watched == ("a",)


def test_in_shadow_nothing_is_done_or_watched_for() -> None:
    plan = planned(found("a", DECLINE, mode=Mode.SHADOW), found("b", DECLINE, band=Band.CLEAR))
    assert (plan.interventions, plan.watched, plan.judged) == ((), (), ())
    assert [each.request_ids for each in plan.shadow] == [("a",)]
