"""Jobs in processes of their own and on a local Ray cluster with two workers: killed, resumed, cancelled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from offline.jobs.desk import LEASE, LEASE_SECONDS, outcome_of, read_json, write_json
from offline.jobs.runners import Needs, PoolRunner, make_runner
from server.registry.jobs import JobState
from tests.fakes.waiting import until
from tests.unit.test_workbench import asked, over, working

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from offline.jobs.runners import Runner
    from server.registry.registry import Registry

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A local Ray cluster of two workers, which find the tests' jobs as this process does."""
    ray = pytest.importorskip("ray", reason="ray is not installed")
    # Ray ships its own start-up, which asks a server of its maker for nothing if it is told so.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
    )
    yield
    ray.shutdown()


@pytest.fixture(params=["pool", "ray"])
def place(request: pytest.FixtureRequest) -> Callable[[], Runner]:
    if request.param == "pool":
        return PoolRunner
    request.getfixturevalue("cluster")

    def joined() -> Runner:
        runner = make_runner("ray", needs=Needs(cpus=1))
        runner.close = lambda: None  # type: ignore[method-assign]  # the other cases use the cluster, too
        return runner

    return joined


async def test_a_job_runs_elsewhere(registry: Registry, tmp_path: Path, place: Callable[[], Runner]) -> None:
    async with working(registry, tmp_path, make_runner=place) as bench:
        job = await over(bench, await asked(bench, registry, "count", to=5))
    assert job.state is JobState.SUCCEEDED
    assert job.figures is not None
    assert job.figures["pid"] != os.getpid()


async def test_a_job_whose_process_is_killed_goes_on_from_its_checkpoint(
    registry: Registry, tmp_path: Path, place: Callable[[], Runner]
) -> None:
    async with working(registry, tmp_path, make_runner=place) as bench:
        job = await over(bench, await asked(bench, registry, "count", to=6, dies_at=4))
    assert (job.state, job.attempts) == (JobState.SUCCEEDED, 2)
    assert job.figures is not None
    assert job.figures["from"] == 4


async def test_a_job_elsewhere_is_cancelled(registry: Registry, tmp_path: Path, place: Callable[[], Runner]) -> None:
    async with working(registry, tmp_path, make_runner=place) as bench:
        job = await asked(bench, registry, "count", to=100_000, pause=0.01)
        checkpoint = tmp_path / "jobs" / job.id / "checkpoint"
        await until(checkpoint.exists)
        await bench.jobs.cancel(job.id)
        assert (await over(bench, job)).state is JobState.CANCELLED


async def test_two_jobs_run_at_the_same_time(registry: Registry, tmp_path: Path, place: Callable[[], Runner]) -> None:
    async with working(registry, tmp_path, make_runner=place, at_once=2) as bench:
        record = await asked(bench, registry, "count", to=200, pause=0.01)
        other = await bench.submit(record.request_id, "stumble", {})
        assert (await over(bench, other)).state is JobState.FAILED
        assert (await bench.jobs.get(record.id)).state is JobState.RUNNING
        assert (await over(bench, record)).state is JobState.SUCCEEDED


STARTER = """
import sys, time
from pathlib import Path
from offline.jobs.runners import PoolRunner
PoolRunner().start("tests.fakes.jobs:count", {"to": 100000, "pause": 0.01}, Path(sys.argv[1]), 1)
time.sleep(600)
"""


def test_a_job_ends_after_who_started_it_was_killed(tmp_path: Path) -> None:
    """Nobody renews its lease then, and it may be taken up elsewhere."""
    write_json(tmp_path / LEASE, {"attempt": 1, "beat": 1, "stop": False})
    starter = subprocess.Popen([sys.executable, "-c", STARTER, str(tmp_path)], cwd=ROOT)
    _wait(lambda: (tmp_path / "checkpoint").exists(), 60)
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    outcome: dict[str, Any] | None = None

    def ended() -> bool:
        nonlocal outcome
        outcome = read_json(tmp_path / outcome_of(1))
        return outcome is not None

    _wait(ended, LEASE_SECONDS + 30)
    assert outcome == {"stopped": True}


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
