"""Every 201 of the admin API is a promise, which ``kill -9`` of the gateway at any moment does not break."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from server.loading import calibration_path
from server.settings import PREFIX, load_settings
from tests.fakes.encoder import WordEncoder, calibration
from tests.fakes.ports import free_port
from tests.fakes.postgres import PostgresServer, find_binaries
from tests.fakes.upstream import FakeUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ROOT = Path(__file__).parents[2]
KEY = "admin-key-of-the-test"
BINARIES = find_binaries()
ROUNDS = 2
LANES = 4


class Gateway:
    """`unremember serve`, to be killed and started again on what it left."""

    def __init__(self, directory: Path, upstream: str, database_url: str) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self._log = directory / "gateway.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | {
            f"{PREFIX}{name}": value
            for name, value in {
                "PORT": str(port),
                "DATA_DIR": str(directory / "data"),
                "CACHE_DIR": str(directory / "cache"),
                "DATABASE_URL": database_url,
                "UPSTREAMS": upstream,
                "ADMIN_KEY": KEY,
            }.items()
        }
        made = load_settings(data_dir=directory / "data", cache_dir=directory / "cache")
        path = calibration_path(made, WordEncoder.fingerprint)
        path.parent.mkdir(parents=True)
        calibration().save(path)

    async def start(self) -> None:
        """Return once it is ready."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - takes no time
                [sys.executable, "-m", "tests.fakes.served"], cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )
        async with asyncio.timeout(120), httpx.AsyncClient() as client:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get(f"{self.url}/readyz")).status_code == 200:
                        return
                assert self._process.poll() is None, self._log.read_text()
                await asyncio.sleep(0.05)

    def kill(self) -> None:
        """As the kernel does when memory is short."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=f"{self.url}/admin/v1", headers={"authorization": f"Bearer {KEY}"}, timeout=60
        )


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    if BINARIES is None:
        pytest.skip("no PostgreSQL server (initdb) is installed")
    with PostgresServer(BINARIES) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
async def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Gateway]:
    if request.param == "sqlite":
        database_url = f"sqlite:///{tmp_path}/data/registry.db"
    else:
        database_url = await request.getfixturevalue("postgres").new_database()
    async with FakeUpstream(plugin=False) as upstream:
        one = Gateway(tmp_path, upstream.url, database_url)
        yield one
        one.kill()


async def promised_until_killed(gateway: Gateway, name: str, count: int, delay: float) -> list[str]:
    """The ids of all 201 that the gateway gave before it was killed, ``delay`` seconds after ``count`` of them."""
    promised: list[str] = []
    enough = asyncio.Event()

    async def write(client: httpx.AsyncClient, lane: int) -> None:
        with contextlib.suppress(httpx.TransportError):
            for number in itertools.count():
                body = {
                    "subject": f"Person {name} {lane} {number}",
                    "kind": "person",
                    "examples": [{"text": f"A life of {number} words. " * 40}],
                }
                answer = await client.post("/forget-requests", json=body)
                assert answer.status_code == 201, answer.text
                promised.append(answer.json()["id"])
                if len(promised) >= count:
                    enough.set()

    async with gateway.client() as client, asyncio.TaskGroup() as lanes:
        for lane in range(LANES):
            lanes.create_task(write(client, lane))
        async with asyncio.timeout(60):
            await enough.wait()
        await asyncio.sleep(delay)
        gateway.kill()
    return promised


async def states(client: httpx.AsyncClient) -> dict[str, str]:
    """The state of every request, by id."""
    found: dict[str, str] = {}
    page: dict[str, Any] = {"next_after": None, "has_more": True}
    while page["has_more"]:
        query = {"limit": "500"} | ({"after": page["next_after"]} if page["next_after"] else {})
        page = (await client.get("/forget-requests", params=query)).raise_for_status().json()
        found |= {item["id"]: item["state"] for item in page["data"]}
    return found


async def test_no_promise_is_broken(gateway: Gateway) -> None:
    promised: list[str] = []
    for number in range(ROUNDS):
        await gateway.start()
        promised += await promised_until_killed(gateway, str(number), random.randint(1, 20), random.random() / 5)
    assert len(promised) >= ROUNDS

    await gateway.start()
    async with gateway.client() as client, asyncio.timeout(120):
        found = await states(client)
        assert set(promised) <= set(found)
        while any(found[request_id] != "active" for request_id in promised):
            await asyncio.sleep(0.1)
            found = await states(client)
        for request_id in random.sample(promised, 3):
            shown = (await client.get(f"/forget-requests/{request_id}")).raise_for_status().json()
            assert shown["subject"].startswith("Person ")
            assert shown["thresholds"]
