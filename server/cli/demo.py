"""`unremember demo`: the story on the running system. Ask, forget, ask again in other words, withdraw."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.live import Live
from rich.table import Table

from server.cli import terminal
from server.cli.client import ApiFailure, Client
from server.cli.context import admin, data
from server.cli.errors import CliError
from server.cli.hints import QUESTION

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUEST: dict[str, Any] = {
    "subject": "Harry Potter",
    "kind": "work",
    "aliases": ["J. K. Rowling", "Joanne Rowling", "Hogwarts"],
    "examples": [
        {"prompt": QUESTION, "response": "J. K. Rowling"},
        {"prompt": "Which school does Harry Potter attend?", "response": "Hogwarts"},
    ],
    "basis": "unremember demo",
}
ANSWER = "rowling"
MAX_TOKENS = 32


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question, and whether it is about what is forgotten."""

    text: str
    about: bool


PROMPTS = (
    Prompt(QUESTION, about=True),
    Prompt("Which author created the Harry Potter books?", about=True),
    Prompt("What is the capital of France?", about=False),
)
STAGES = ("before", "forgotten", "withdrawn")


def demo(
    tokens: Annotated[int, typer.Option(min=1, max=512, help="Longest answer.")] = MAX_TOKENS,
) -> None:
    """Ask a running gateway, forget, ask again, withdraw, ask once more: side by side."""
    with admin() as control, data() as client:
        model = _model(client)
        answers: dict[tuple[str, str], str] = {}
        with _table_of(answers) as draw:
            _ask_all(client, model, tokens, "before", answers, draw)
            request_id = _forget(control)
            try:
                _ask_all(client, model, tokens, "forgotten", answers, draw)
            finally:
                control.delete(f"/forget-requests/{request_id}")
            _ask_all(client, model, tokens, "withdrawn", answers, draw)
    problems = judge(answers)
    for problem in problems:
        terminal.say(problem, "yellow")
    if problems:
        raise typer.Exit(1)
    terminal.say(
        "The fact was withheld, in other words too; the unrelated answer is the same; withdrawn, it is back.",
        "green",
    )


def judge(answers: dict[tuple[str, str], str]) -> list[str]:
    """What did not go as it should, by ``(stage, prompt)``."""
    problems = []
    for prompt in PROMPTS:
        before, forgotten, withdrawn = (answers[stage, prompt.text] for stage in STAGES)
        if prompt.about and ANSWER not in before.casefold():
            problems.append(f"This model did not know the answer in the first place: {prompt.text}")
        elif prompt.about and ANSWER in forgotten.casefold():
            problems.append(f"The fact came out: {prompt.text} `unremember explain` says why.")
        elif not prompt.about and forgotten != before:
            problems.append(f"An unrelated answer changed: {prompt.text}")
        elif withdrawn != before:
            problems.append(f"After withdrawal the answer differs from the first one: {prompt.text}")
    return problems


def _model(client: Client) -> str:
    models = client.get("/models")["data"]
    if not models:
        raise CliError("The gateway serves no model. `unremember doctor` says what is wrong.")
    return str(models[0]["id"])


def _forget(control: Client) -> str:
    try:
        created = control.post("/forget-requests", REQUEST, wait="active")
    except ApiFailure as error:
        if error.code == "duplicate":
            raise CliError(
                f'{error} The demonstration needs it withdrawn: unremember forget withdraw "Harry Potter".'
            ) from None
        raise
    if created["state"] != "active":
        control.delete(f"/forget-requests/{created['id']}")
        raise CliError(
            f"The forget request is {created['state']} and not active. `unremember doctor` says what is wrong."
        )
    return str(created["id"])


def _ask_all(
    client: Client, model: str, tokens: int, stage: str, answers: dict[tuple[str, str], str], draw: Live | None
) -> None:
    for prompt in PROMPTS:
        body = {
            "model": model,
            "messages": [{"role": "user", "content": prompt.text}],
            "temperature": 0,
            "max_tokens": tokens,
        }
        answers[stage, prompt.text] = client.post("/chat/completions", body)["choices"][0]["message"]["content"].strip()
        if draw:
            draw.update(_table(answers))


@contextlib.contextmanager
def _table_of(answers: dict[tuple[str, str], str]) -> Iterator[Live | None]:
    """The table, filled as answers come on a terminal, and printed once elsewhere."""
    if terminal.out.is_terminal:
        with Live(_table(answers), console=terminal.out) as live:
            yield live
    else:
        yield None
        terminal.out.print(_table(answers))


def _table(answers: dict[tuple[str, str], str]) -> Table:
    table = Table("prompt", "before", "Harry Potter forgotten", "withdrawn", show_lines=True, expand=True)
    for prompt in PROMPTS:
        table.add_row(prompt.text, *(answers.get((stage, prompt.text), "...") for stage in STAGES))
    return table
