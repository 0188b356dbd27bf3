"""Jobs on a Ray cluster. Its machines must see the job's directory under the same path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray

from offline.jobs.errors import JobError
from offline.jobs.work import perform

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from offline.jobs.runners import Attempt, Needs


class RayRunner:
    """Hands each job to the cluster as one task with what it needs.

    Ray itself tries nothing again: a job whose worker was lost is taken up from its checkpoint by who started it.
    A job waits in the cluster while that has no room; its lease is renewed meanwhile.
    """

    def __init__(self, address: str | None, needs: Needs) -> None:
        """Join the cluster at ``address``, or start one on this machine.

        Raises:
            JobError: it does not answer.
        """
        if not ray.is_initialized():
            try:
                ray.init(address=address, include_dashboard=False, log_to_driver=False, configure_logging=False)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise JobError(f"The Ray cluster cannot be used ({type(error).__name__}).") from None
        wanted: dict[str, Any] = {"num_cpus": needs.cpus, "num_gpus": needs.gpus}
        if needs.memory is not None:
            wanted["memory"] = needs.memory
        self._task = ray.remote(max_retries=0, max_calls=1, **wanted)(perform)

    def start(self, function: str, work: Mapping[str, Any], directory: Path, attempt: int) -> Attempt:
        """Queue it in the cluster."""
        return _Task(self._task.remote(function, dict(work), str(directory), attempt))

    def close(self) -> None:
        """Leave the cluster."""
        ray.shutdown()


@dataclass(frozen=True, slots=True)
class _Task:
    reference: Any

    def over(self) -> bool:
        ready, _ = ray.wait([self.reference], timeout=0)
        return bool(ready)
