"""Jobs that tests have done, wherever jobs run: importable by their place."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

from offline.jobs.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from offline.jobs.desk import Desk

HERE = "tests.fakes.jobs"


def count(desk: Desk, work: Mapping[str, Any]) -> dict[str, Any]:
    """Counts to ``work["to"]``, a step every ``pause`` seconds, and keeps a checkpoint of every step.

    Where ``dies_at`` is set, the first attempt kills its own process there.
    """
    checkpoint = desk.directory / "checkpoint"
    start = int(checkpoint.read_text()) if checkpoint.exists() else 0
    desk.stage("counting")
    desk.say(f"from {start}")
    for number in range(start, work["to"]):
        checkpoint.write_text(str(number + 1))
        desk.progress(number + 1, work["to"])
        if number + 1 == work.get("dies_at") and start == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(work.get("pause", 0.0))
    desk.artefact.mkdir()
    (desk.artefact / "sum").write_text(str(work["to"]))
    return {"from": start, "seed": 1, "data_sha256": "0" * 64, "pid": os.getpid()}


def refuse(desk: Desk, work: Mapping[str, Any]) -> dict[str, Any]:
    """Cannot be done."""
    raise JobError("there is nothing to count")


def stumble(desk: Desk, work: Mapping[str, Any]) -> dict[str, Any]:
    """Fails on forget text, which its exception quotes."""
    raise KeyError(work["secret"])
