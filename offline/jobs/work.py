"""One attempt at a job, wherever it runs: a function does it at a desk, and its outcome is left there."""

from __future__ import annotations

import pkgutil
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offline.jobs.desk import Desk, outcome_of, write_json
from offline.jobs.errors import JobError, Stopped

if TYPE_CHECKING:
    from collections.abc import Mapping


def perform(function: str, work: Mapping[str, Any], directory: str, attempt: int) -> None:
    """Do the job ``function`` ("package.module:name") with ``work``, and leave the outcome in its directory.

    The function is called with a `Desk` and ``work``, and returns figures that JSON can hold. The outcome is one of
    ``figures``, ``error`` and ``stopped``.
    """
    place = Path(directory)
    outcome: dict[str, Any] = {}
    try:
        outcome["figures"] = pkgutil.resolve_name(function)(Desk(place, attempt), work)
    except Stopped:
        outcome["stopped"] = True
    except JobError as error:
        outcome["error"] = str(error)
    except Exception as error:
        # Its message may quote what it failed on.
        frames = traceback.extract_tb(error.__traceback__)
        where = f" in {frames[-1].name}, line {frames[-1].lineno}" if frames else ""
        outcome["error"] = f"{type(error).__name__}{where}"
    write_json(place / outcome_of(attempt), outcome)
