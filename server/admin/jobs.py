"""The jobs of ``offline`` that the server starts, by name: the server imports none of them before one runs."""

from __future__ import annotations

import pkgutil
from typing import Any, Final

JOBS: Final = {
    "calibrate": "offline.detector.calibrate:calibrate",
    "calibration-recipe": "offline.detector.recipe:fingerprint",
    "corruption-sweep": "offline.corruption.sweep:sweep",
}


def job(name: str) -> Any:
    """The function behind a job's name. Importing it may take seconds: call this in a thread.

    Raises:
        KeyError: no such job.
    """
    return pkgutil.resolve_name(JOBS[name])
