"""Phrases of a forget request on the terminal: what must not leave in answers, and where it was met."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

_SHOWN = 80


def given(names: list[str] | None, facts: list[str] | None) -> list[dict[str, Any]]:
    """Phrases from the command line, as the admin API takes them."""
    return [
        *({"text": text, "class": "name"} for text in names or []),
        *({"text": text, "class": "fact"} for text in facts or []),
    ]


def phrase_table(phrases: list[dict[str, Any]]) -> Table:
    """What must not leave, how much of it already tells, how often it is innocent."""
    table = Table("phrase", "class", "known from", "innocent")
    for phrase in phrases:
        style = "yellow" if phrase["warning"] else ""
        table.add_row(
            _cell(phrase["text"]),
            phrase["class"],
            _cell(phrase["telling"]),
            Text(_share(phrase["innocent_rate"]), style),
        )
    return table


def use_table(phrases: list[dict[str, Any]], quotations: dict[str, Any] | None) -> Table:
    """Where each phrase was met, and how often it was expected to be innocent; and runs of words of a long text."""
    table = Table("phrase", "class", "innocent", "recognised prompts", "other prompts", "left alone", "last met")
    if quotations:
        table.add_row("any eight words of its text", "", "", *_counts(quotations))
    for phrase in phrases:
        table.add_row(_cell(phrase["text"]), phrase["class"], _share(phrase["innocent_rate"]), *_counts(phrase))
    return table


def _counts(use: dict[str, Any]) -> list[str]:
    last = (use["last_at"] or "never")[:16].replace("T", " ")
    return [*(str(use[name]) for name in ("hits_flagged", "hits_unflagged", "seen")), last]


def _cell(text: str) -> Text:
    return Text(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…")


def _share(rate: float) -> str:
    return f"1 in {round(1 / rate):,}" if rate else "never"
