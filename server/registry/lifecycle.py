"""The states of a forget request, and the one table of what may follow what."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from guards.scope import Mode
from server.errors import Conflict, NotFound


class State(StrEnum):
    """Where a forget request stands. It is enforced in ``active`` only, recorded in ``shadow`` too."""

    RECEIVED = "received"
    COMPILING = "compiling"
    SHADOW = "shadow"
    ACTIVE = "active"
    WITHDRAWN = "withdrawn"
    ERROR = "error"


TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    State.RECEIVED: frozenset({State.RECEIVED, State.COMPILING, State.ERROR, State.WITHDRAWN}),
    State.COMPILING: frozenset(
        {State.RECEIVED, State.COMPILING, State.SHADOW, State.ACTIVE, State.ERROR, State.WITHDRAWN}
    ),
    State.SHADOW: frozenset({State.SHADOW, State.ACTIVE, State.WITHDRAWN}),
    State.ACTIVE: frozenset({State.ACTIVE, State.SHADOW, State.WITHDRAWN}),
    State.ERROR: frozenset({State.RECEIVED, State.WITHDRAWN}),
    State.WITHDRAWN: frozenset(),
}
"""A state that leads to itself takes a new version without changing."""

LIVE: Final = frozenset({State.SHADOW, State.ACTIVE})
"""States in which a compiled version is in every replica's detector."""


class UnknownRequest(NotFound):
    """No forget request has this id."""

    def __init__(self) -> None:
        super().__init__("There is no forget request with this id.", param="id", code="unknown_request")


class WrongState(Conflict):
    """The request's state does not allow this."""

    def __init__(self, state: State, wanted: State) -> None:
        possible = ", ".join(sorted(TRANSITIONS[state] - {state}))
        allowed = f"From here it can become: {possible}." if possible else "That is final: nothing can follow."
        super().__init__(f"The request is {state} and cannot become {wanted}. {allowed}", code="wrong_state")


class Duplicate(Conflict):
    """A request that is not withdrawn already has this subject, kind and extent."""

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"{request_id} already has this subject, kind and extent. PATCH or withdraw that one.",
            param="subject",
            code="duplicate",
        )
        self.request_id = request_id


def require(state: State, wanted: State) -> None:
    """Raise ``WrongState`` unless the table lets ``state`` become ``wanted``."""
    if wanted not in TRANSITIONS[state]:
        raise WrongState(state, wanted)


def live_state(mode: Mode) -> State:
    """The state of a request whose live version has this mode."""
    return State.ACTIVE if mode is Mode.ENFORCE else State.SHADOW
