"""The command line that a measurement's figures are published with."""

from __future__ import annotations

import sys
from typing import Final

_KEYS: Final = {"--key", "--admin-key", "--upstream-key"}


def command() -> str:
    """The command line of this process, without keys."""
    words = ["KEY" if before in _KEYS else word for before, word in zip(sys.argv, sys.argv[1:], strict=False)]
    return " ".join(["python", sys.argv[0], *words])
