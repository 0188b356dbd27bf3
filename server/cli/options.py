"""Options given as NAME=VALUE."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from server.cli.errors import CliError

if TYPE_CHECKING:
    from collections.abc import Iterable


def to_options(given: Iterable[str]) -> dict[str, Any]:
    """By name; a value that is no JSON is text. Raises CliError."""
    return dict(map(_option, given))


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise CliError(f"--option {text!r} is not NAME=VALUE.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
