"""What a job and who started it share: a directory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from offline.jobs.desk import EVENTS, LEASE, LEASE_SECONDS, STATUS, Desk, outcome_of, read_json, write_json
from offline.jobs.errors import Stopped
from offline.jobs.work import perform
from tests.fakes.jobs import HERE

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def lease(directory: Path, *, attempt: int = 1, beat: int = 0, stop: bool = False) -> None:
    write_json(directory / LEASE, {"attempt": attempt, "beat": beat, "stop": stop})


def test_progress_is_told_at_the_beginning_now_and_then_and_at_the_end(tmp_path: Path) -> None:
    lease(tmp_path)
    clock = Clock()
    desk = Desk(tmp_path, 1, clock=clock)
    desk.stage("training")
    assert read_json(tmp_path / STATUS) == {"stage": "training", "done": 0, "total": 0}
    desk.progress(1, 10)
    assert read_json(tmp_path / STATUS) == {"stage": "training", "done": 0, "total": 0}
    clock.now += 1
    desk.progress(2, 10)
    assert read_json(tmp_path / STATUS) == {"stage": "training", "done": 2, "total": 10}
    desk.progress(10, 10)
    assert read_json(tmp_path / STATUS) == {"stage": "training", "done": 10, "total": 10}


def test_a_log_is_added_to(tmp_path: Path) -> None:
    desk = Desk(tmp_path, 1)
    desk.say("one")
    desk.say("two")
    assert [json.loads(line)["text"] for line in (tmp_path / EVENTS).read_text().splitlines()] == ["one", "two"]


def test_a_job_stops_when_told_to(tmp_path: Path) -> None:
    lease(tmp_path)
    clock = Clock()
    desk = Desk(tmp_path, 1, clock=clock)
    desk.check()
    lease(tmp_path, stop=True)
    desk.check()  # looks no more than twice a second
    clock.now += 1
    with pytest.raises(Stopped):
        desk.check()


def test_a_job_stops_once_another_attempt_has_begun(tmp_path: Path) -> None:
    lease(tmp_path, attempt=2)
    with pytest.raises(Stopped):
        Desk(tmp_path, 1).check()


def test_a_job_stops_whose_lease_is_gone(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        Desk(tmp_path, 1).check()


def test_a_job_goes_on_only_while_its_lease_is_renewed(tmp_path: Path) -> None:
    clock = Clock()
    desk = Desk(tmp_path, 1, clock=clock)
    for beat in range(5):
        lease(tmp_path, beat=beat)
        clock.now += LEASE_SECONDS - 1
        desk.check()
    clock.now += LEASE_SECONDS + 1
    with pytest.raises(Stopped):
        desk.check()


def test_a_job_begins_its_lease_when_it_begins_itself(tmp_path: Path) -> None:
    lease(tmp_path, beat=7)
    clock = Clock()
    desk = Desk(tmp_path, 1, clock=clock)
    desk.check()
    clock.now += LEASE_SECONDS - 1
    desk.check()


def test_what_a_job_makes_is_its_outcome(tmp_path: Path) -> None:
    lease(tmp_path)
    perform(f"{HERE}:count", {"to": 3}, str(tmp_path), 1)
    outcome = read_json(tmp_path / outcome_of(1))
    assert outcome is not None
    assert outcome["figures"]["from"] == 0
    assert (tmp_path / "artefact" / "sum").read_text() == "3"


def test_a_job_that_cannot_be_done_says_why(tmp_path: Path) -> None:
    lease(tmp_path)
    perform(f"{HERE}:refuse", {}, str(tmp_path), 1)
    assert read_json(tmp_path / outcome_of(1)) == {"error": "there is nothing to count"}


def test_what_an_exception_quotes_is_not_told(tmp_path: Path) -> None:
    lease(tmp_path)
    perform(f"{HERE}:stumble", {"secret": "Zaphod Beeblebrox"}, str(tmp_path), 1)
    text = (tmp_path / outcome_of(1)).read_text()
    assert "KeyError in stumble, line" in text
    assert "Zaphod" not in text


def test_a_stopped_job_says_so_under_its_own_attempt(tmp_path: Path) -> None:
    lease(tmp_path, attempt=2)
    perform(f"{HERE}:count", {"to": 3}, str(tmp_path), 1)
    assert read_json(tmp_path / outcome_of(1)) == {"stopped": True}
    assert read_json(tmp_path / outcome_of(2)) is None


def test_a_file_that_is_no_object_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("[1")
    (tmp_path / "y").write_text("[1]")
    assert read_json(tmp_path / "x") is read_json(tmp_path / "y") is read_json(tmp_path / "z") is None
