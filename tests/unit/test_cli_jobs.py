"""`unremember jobs`, and what uses their results, against a small gateway in memory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from server.cli import context, jobs
from server.cli.client import Client
from tests.unit.test_cli import refused, run

if TYPE_CHECKING:
    from tests.unit.test_cli import Run

__all__ = ["run"]

REQUEST = {"id": "fr_0", "subject": "Harry Potter", "state": "active", "version": 2, "warnings": [], "error": None}


class Gateway:
    """One request, and a job that goes through the states it is given."""

    def __init__(self, states: list[str]) -> None:
        self.states = states
        self.posted: list[tuple[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/admin/v1").strip("/").split("/")
        if request.method == "POST":
            self.posted.append(("/".join(path), json.loads(request.content)))
        match request.method, path:
            case "GET", ["forget-requests"]:
                return httpx.Response(200, json={"data": [REQUEST], "has_more": False})
            case "POST", ["forget-requests", "fr_0", "jobs"]:
                return httpx.Response(202, json=self._job("queued"))
            case "POST", ["forget-requests", "fr_0", "promotions" | "rollbacks"]:
                return httpx.Response(200, json={**REQUEST, "version": 3})
            case "GET", ["forget-requests", "fr_0", "artefacts"]:
                made = {"id": "art_1", "kind": "adapter", "version": 1, "seed": 7, "created_at": "2026-03-01T09:30:00Z"}
                return httpx.Response(200, json={"data": [made] if self.states else []})
            case "GET", ["jobs"]:
                return httpx.Response(200, json={"data": [self._job("running")] if self.states else []})
            case "GET", ["jobs", "job_1"]:
                return httpx.Response(200, json=self._job(self.states.pop(0)))
            case "GET", ["jobs", "job_1", "events"]:
                read = int(request.url.params["after"])
                lines = [{"number": read + 1, "text": f"line {read + 1}"}] if read < 2 else []
                return httpx.Response(200, json={"data": lines, "next_after": read + len(lines)})
            case "POST", ["jobs", "job_1", "cancel"]:
                return httpx.Response(200, json=self._job("running"))
        return refused(404, "There is no job with this id.", "id", "unknown_job")

    def _job(self, state: str) -> dict[str, Any]:
        total = 0 if state == "queued" else 10
        return {
            "id": "job_1",
            "request_id": "fr_0",
            "kind": "adapter",
            "state": state,
            "progress": {"stage": "training" if total else "", "done": total, "total": total},
            "error": "the model has no such layers" if state == "failed" else None,
            "artefact": "art_1" if state == "succeeded" else None,
        }


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Gateway:
    fake = Gateway(["queued", "running", "succeeded"])
    transport = httpx.MockTransport(fake)
    monkeypatch.setattr(context, "admin_client", lambda *_: Client("http://gateway/admin/v1", "key", transport))
    monkeypatch.setattr(jobs, "_POLL_SECONDS", 0.0)
    return fake


def test_a_job_is_started_and_followed(run: Run, gateway: Gateway) -> None:
    status, out, _ = run("jobs", "start", "harry potter", "adapter", "--option", "loss=npo", "--option", "epochs=5")
    assert status == 0
    assert gateway.posted == [
        ("forget-requests/fr_0/jobs", {"kind": "adapter", "options": {"loss": "npo", "epochs": 5}})
    ]
    assert "line 1" in out
    assert "line 2" in out
    assert "training: 10 of 10" in out
    assert "unremember forget promote fr_0 art_1" in out


def test_a_job_is_not_waited_for(run: Run, gateway: Gateway) -> None:
    status, out, _ = run("jobs", "start", "fr_0", "adapter", "--no-follow")
    assert (status, out) == (0, "job_1 is queued.\n")


def test_a_job_that_fails_ends_with_its_reason(run: Run, gateway: Gateway) -> None:
    gateway.states = ["failed"]
    status, _, err = run("jobs", "follow", "job_1")
    assert status == 1
    assert "job_1 has failed: the model has no such layers." in err


def test_an_option_needs_a_value(run: Run, gateway: Gateway) -> None:
    status, _, err = run("jobs", "start", "fr_0", "adapter", "--option", "loss")
    assert (status, gateway.posted) == (1, [])
    assert "NAME=VALUE" in err


def test_jobs_are_listed_shown_and_cancelled(run: Run, gateway: Gateway) -> None:
    assert "training 10/10" in run("jobs", "list")[1]
    assert json.loads(run("jobs", "show", "job_1")[1])["id"] == "job_1"
    assert "job_1 is being cancelled." in run("jobs", "cancel", "job_1")[1]
    assert "There is no job" in run("jobs", "cancel", "job_9")[2]


def test_what_was_made_is_shown_and_used(run: Run, gateway: Gateway) -> None:
    assert "art_1" in run("jobs", "made", "fr_0")[1]
    assert "fr_0 is active, version 3." in run("forget", "promote", "Harry Potter", "art_1")[1]
    assert "fr_0 is active, version 3." in run("forget", "rollback", "Harry Potter", "1")[1]
    assert gateway.posted == [
        ("forget-requests/fr_0/promotions", {"artefact": "art_1"}),
        ("forget-requests/fr_0/rollbacks", {"version": 1}),
    ]


def test_where_there_is_nothing_the_way_to_begin_is_shown(run: Run, gateway: Gateway) -> None:
    gateway.states = []
    assert "unremember jobs start ID adapter" in run("jobs", "list")[1]
    assert "unremember jobs start ID adapter" in run("jobs", "made", "fr_0")[1]
