"""`unremember pause` and `resume`: the switch for an emergency."""

from __future__ import annotations

from typing import Annotated

import typer

from server.cli import terminal
from server.cli.context import admin
from server.cli.errors import CliError


def pause(
    everything: Annotated[
        bool, typer.Option("--all", help="Needed: this concerns every forget request at once.")
    ] = False,
) -> None:
    """Stop acting on all forget requests, on every replica: whatever is forgotten is answered again."""
    if not everything:
        raise CliError(
            "This lets everything that is forgotten be answered again. Say --all to do it, "
            "or put one request in shadow: unremember forget shadow ID."
        )
    with admin() as client:
        client.post("/pause", {"paused": True})
    terminal.say("Paused: nothing is withheld, what would have been done is recorded. Go on with: unremember resume")


def resume() -> None:
    """Act on forget requests again after a pause."""
    with admin() as client:
        client.post("/pause", {"paused": False})
    terminal.say("Resumed: every active forget request is enforced.")
