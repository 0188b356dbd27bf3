"""The table of transitions."""

from __future__ import annotations

import pytest

from guards.scope import Mode
from server.registry.lifecycle import LIVE, TRANSITIONS, State, WrongState, live_state, require
from server.registry.records import is_pending


def test_every_state_has_its_row() -> None:
    assert set(TRANSITIONS) == set(State)


def test_every_state_but_the_last_can_be_withdrawn() -> None:
    assert {state for state in State if State.WITHDRAWN not in TRANSITIONS[state]} == {State.WITHDRAWN}


def test_nothing_goes_live_without_being_compiled() -> None:
    before = {state for state, following in TRANSITIONS.items() if following & LIVE}
    assert before == {State.COMPILING, *LIVE}


def test_a_wrong_transition_says_what_is_possible() -> None:
    with pytest.raises(WrongState) as caught:
        require(State.ERROR, State.ACTIVE)
    assert caught.value.message == (
        "The request is error and cannot become active. From here it can become: received, withdrawn."
    )
    assert (caught.value.status, caught.value.code) == (409, "wrong_state")


def test_live_state_follows_the_mode() -> None:
    assert live_state(Mode.ENFORCE) is State.ACTIVE
    assert live_state(Mode.SHADOW) is State.SHADOW


@pytest.mark.parametrize(
    ("state", "latest", "live", "error", "pending"),
    [
        (State.RECEIVED, 1, None, None, True),
        (State.COMPILING, 1, None, None, True),
        (State.ACTIVE, 2, 1, None, True),
        (State.ACTIVE, 1, 1, None, False),
        (State.SHADOW, 2, 1, "failed", False),
        (State.ERROR, 1, None, "failed", False),
        (State.WITHDRAWN, 1, None, None, False),
    ],
)
def test_what_waits_for_compilation(
    state: State, latest: int, live: int | None, error: str | None, pending: bool
) -> None:
    assert is_pending(state, latest, live, error) is pending
