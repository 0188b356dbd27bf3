"""What the engine's log says about how far it is, and about why it failed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# In the order in which vLLM 0.32 passes through them; the last one found in the log is where it is.
PHASES = (
    ("non-default args", "reading the model's configuration"),
    ("LLM engine", "starting the engine's processes"),
    ("Starting to load model", "loading the weights"),
    ("KV cache size", "reserving memory"),
    ("init engine", "starting the API server"),
    ("Application startup complete", "answering"),
)
FIRST_PHASE = "importing vLLM"

_EXCEPTION = re.compile(
    r"^(?:\([^)]*\) )?(?:(?:ERROR|CRITICAL) \S+ \S+ \[[^\]]*\] )?(?:[\w.]+\.)?(\w*(?:Error|Exception)): (.+)$"
)
# The parent's summary of what the child has already said better.
_SECOND_HAND = "initialization failed"


def phase(text: str) -> str:
    """The phase that a log of one start has come to."""
    return next((words for mark, words in reversed(PHASES) if mark in text), FIRST_PHASE)


def reason(text: str) -> str | None:
    """The most telling error of a log: its last exception that is not about another one."""
    found = [match for line in text.splitlines() if (match := _EXCEPTION.match(line))]
    first_hand = [match for match in found if _SECOND_HAND not in match[2]]
    for match in reversed(first_hand or found):
        return f"{match[1]}: {match[2].strip()[:300]}"
    return None


def tail(path: Path, start: int = 0, limit: int = 256 * 1024) -> str:
    """The text of a log from byte ``start`` on, at most its last ``limit`` bytes."""
    try:
        with path.open("rb") as file:
            file.seek(max(start, path.stat().st_size - limit))
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
