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
_CREDENTIALS = re.compile(r"(?<=://)([^/@:]*):[^@/]*@")
_PARAMETERS = re.compile(r"([?&][^=&]*(?:key|pass|pwd|secret|token)[^=&]*=)[^&]*", re.IGNORECASE)


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
        return _PARAMETERS.sub(rf"\1{MASK}", _CREDENTIALS.sub(rf"\1:{MASK}@", str(value)))
    return value
