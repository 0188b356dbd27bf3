"""Jobs over the admin API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from server.admin import job_routes
from server.registry.decisions import DecisionLog
from tests.unit.test_admin_forgetting import started
from tests.unit.test_admin_routes import SECRET, application, connected, error, forget
from tests.unit.test_workbench import working

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx

    from server.registry.registry import Registry


@pytest.fixture
async def client(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    monkeypatch.setattr(job_routes, "_FOLLOW_SECONDS", 0.02)
    log = DecisionLog(registry.engine, retention=10)
    async with (
        started(registry) as replica,
        working(registry, tmp_path) as bench,
        connected(application(replica, registry, log, bench)) as one,
    ):
        yield one


async def start(client: httpx.AsyncClient, kind: str = "count", **options: Any) -> dict[str, Any]:
    request = (await forget(client, subject=f"{SECRET} {kind}"))["id"]
    answer = await client.post(f"/forget-requests/{request}/jobs", json={"kind": kind, "options": options})
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


async def followed(client: httpx.AsyncClient, job: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    answer = await client.get(f"/jobs/{job['id']}/stream")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [event.split("\n") for event in answer.text.split("\n\n") if event]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in events]


async def test_a_job_is_asked_for_followed_and_leaves_an_artefact(client: httpx.AsyncClient) -> None:
    job = await start(client, to=4)
    events = await followed(client, job)
    assert ("line", "from 0") in [(name, data.get("text")) for name, data in events]
    name, last = events[-1]
    assert (name, last["state"], last["progress"]) == ("job", "succeeded", {"stage": "counting", "done": 4, "total": 4})
    [made] = (await client.get(f"/forget-requests/{job['request_id']}/artefacts")).json()["data"]
    assert (made["id"], made["job"], made["kind"]) == (last["artefact"], job["id"], "count")
    assert (await client.get(f"/jobs/{job['id']}")).json() == last


async def test_a_log_is_read_from_where_one_was(client: httpx.AsyncClient) -> None:
    job = await start(client)
    await followed(client, job)
    read = (await client.get(f"/jobs/{job['id']}/events")).json()
    assert [line["text"] for line in read["data"]] == ["from 0"]
    more = (await client.get(f"/jobs/{job['id']}/events", params={"after": read["next_after"]})).json()
    assert more == {"data": [], "next_after": read["next_after"]}


async def test_jobs_are_listed(client: httpx.AsyncClient) -> None:
    first = await start(client, "count")
    second = await start(client, "refuse")
    for job in (first, second):
        await followed(client, job)
    page = (await client.get("/jobs", params={"limit": 1})).json()
    assert ([job["id"] for job in page["data"]], page["has_more"]) == ([second["id"]], True)
    rest = (await client.get("/jobs", params={"after": page["next_after"]})).json()
    assert [job["id"] for job in rest["data"]] == [first["id"]]
    failed = (await client.get("/jobs", params={"state": "failed", "request": second["request_id"]})).json()
    assert [job["error"] for job in failed["data"]] == ["there is nothing to count"]


async def test_a_job_is_cancelled(client: httpx.AsyncClient) -> None:
    job = await start(client, to=100_000, pause=0.01)
    assert (await client.post(f"/jobs/{job['id']}/cancel")).status_code == 200
    assert (await followed(client, job))[-1][1]["state"] == "cancelled"
    assert (await client.post(f"/jobs/{job['id']}/cancel")).json()["state"] == "cancelled"


async def test_a_job_that_is_over_is_not_cancelled(client: httpx.AsyncClient) -> None:
    job = await start(client)
    await followed(client, job)
    assert error(await client.post(f"/jobs/{job['id']}/cancel"), 409)["code"] == "job_over"


async def test_what_is_refused(client: httpx.AsyncClient) -> None:
    job = await start(client, to=100_000, pause=0.01)
    path = f"/forget-requests/{job['request_id']}/jobs"
    assert error(await client.post(path, json={"kind": "nonsense"}), 400)["param"] == "kind"
    assert error(await client.post(path, json={"kind": "count", "options": {"to": "x"}}), 400)["param"] == "options"
    assert error(await client.post(path, json={"kind": "count", "extra": 1}), 400)["param"] == "extra"
    large = {"kind": "count", "options": {"to": 2**80}}
    assert error(await client.post(path, json=large), 400)["param"] == "options"
    assert error(await client.post(path, json={"kind": "count"}), 409)["code"] == "job_open"
    none = "0" * 32
    assert error(await client.post(f"/forget-requests/fr_{none}/jobs", json={"kind": "count"}), 404)
    for path in (f"/jobs/job_{none}", "/jobs/x", f"/jobs/job_{none}/events", f"/jobs/job_{none}/stream"):
        assert error(await client.get(path), 404)["code"] == "unknown_job"
    assert error(await client.get(f"/forget-requests/fr_{none}/artefacts"), 404)
    assert error(await client.get("/jobs", params={"limit": 0}), 400)["param"] == "limit"
