"""`unremember config`: effective settings, secrets masked, and where each came from."""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from rich.table import Table

from server.cli import terminal
from server.settings import CONFIG_VARIABLE, PREFIX, Settings

MASK = "********"
# A password ends at the last @ of all: one that holds @, : or / as it is splits a URL in the wrong place for a parser.
_SECRETS = (
    re.compile(r"://[^:]*:(.*)@", re.DOTALL),
    re.compile(r"[?&][^=&]*(?:key|pass|pwd|secret|token)[^=&]*=([^&]*)", re.IGNORECASE),
)


def show(settings: Settings, *, as_json: bool) -> None:
    """Print them."""
    rows = effective(settings)
    if as_json:
        sys.stdout.write(
            json.dumps({name: {"value": value, "from": source} for name, value, source in rows}, indent=2) + "\n"
        )
        return
    table = Table("setting", "value", "from")
    for name, value, source in rows:
        table.add_row(name, "" if value is None else str(value), source, style=None if source != "default" else "dim")
    terminal.out.print(table)


def effective(settings: Settings) -> list[tuple[str, Any, str]]:
    """Name, value fit to print, and source of every setting, in the order of the documentation."""
    path = os.environ.get(CONFIG_VARIABLE)
    given = tomllib.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    variables = {variable.upper() for variable in os.environ}
    rows = []
    for name in Settings.model_fields:
        if f"{PREFIX}{name.upper()}" in variables:
            source = f"environment, {PREFIX}{name.upper()}"
        elif name in given:
            source = f"file, {path}"
        else:
            source = "default"
        rows.append((name, printable(getattr(settings, name)), source))
    return rows


def printable(value: Any) -> Any:
    """A value without what must not be seen: keys, and passwords in URLs."""
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, tuple):
        return ", ".join(str(printable(part)) for part in value) or None
    if isinstance(value, (str, Path)):
        return _masked(str(value))
    return value


def _masked(text: str) -> str:
    """The text with one mask in place of each secret in it, or of several that touch."""
    shown, end = "", 0
    for start, stop in sorted(found.span(1) for pattern in _SECRETS for found in pattern.finditer(text)):
        if start > end:
            shown += text[end:start] + MASK
        end = max(end, stop)
    return shown + text[end:]
