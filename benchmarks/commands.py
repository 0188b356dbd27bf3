"""The command line that a measurement's figures are published with."""

from __future__ import annotations

import sys
from typing import Final

_KEYS: Final = {"--key", "--admin-key", "--upstream-key"}


def command() -> str:
    """The command line of this process, without keys."""
    given = [part for word in sys.argv[1:] for part in word.split("=", 1 if word.startswith("--") else 0)]
    words = ["KEY" if before in _KEYS else word for before, word in zip(["", *given], given, strict=False)]
    return " ".join(["python", sys.argv[0], *words])
