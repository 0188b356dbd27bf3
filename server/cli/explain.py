"""`unremember explain`: what would be done with a prompt, and why."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from server.cli import terminal
from server.cli.context import admin


def explain(
    prompts: Annotated[list[str], typer.Argument(help="One or more prompts.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Everything the gateway says.")] = False,
) -> None:
    """Show what would be done with a prompt, by which forget request, and what would change that."""
    with admin() as client:
        answer = client.post("/explain", {"inputs": prompts})
    if as_json:
        terminal.out.print_json(data=answer)
        return
    for prompt, result in zip(prompts, answer["results"], strict=True):
        terminal.say(f"{_verdict(result)}: {prompt}", "bold")
        if result["detections"]:
            terminal.out.print(_table(result["detections"]))


def _verdict(result: dict[str, Any]) -> str:
    plan = result["plan"]
    actions = ", ".join(intervention["action"] for intervention in plan["interventions"])
    shadow = ", ".join(intervention["action"] for intervention in plan["shadow"])
    return (actions or "untouched") + (f" (in shadow: {shadow})" if shadow else "")


def _table(detections: list[dict[str, Any]]) -> Table:
    table = Table("request", "band", "probability", "threshold", "nearest forgotten", "nearest kept", "would change it")
    for found in detections:
        evidence = found["evidence"]
        table.add_row(
            found["request_id"],
            found["band"],
            f"{found['probability']:.3f}",
            f"{evidence['threshold']:.3f}",
            _near(evidence["nearest_forget"]),
            _near(evidence["nearest_retain"]),
            evidence["would_change"],
        )
    return table


def _near(item: dict[str, Any] | None) -> str:
    return f"{item['text'][:80]} ({item['similarity']:.2f})" if item else ""
