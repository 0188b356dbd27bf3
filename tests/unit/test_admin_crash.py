"""What was promised survives ``kill -9`` at any moment."""

from __future__ import annotations

import asyncio
import random
import sys

import pytest

from server.registry.lifecycle import State
from server.registry.registry import Registry
from server.vault import Vault
from tests.fakes.detection import VAULT_KEY
from tests.unit.test_admin_forgetting import started, until

pytestmark = pytest.mark.thorough


async def promises_until_killed(url: str, count: int, delay: float) -> list[list[str]]:
    """The promises of a process that is killed ``delay`` seconds after it made ``count`` of them."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fakes.writer", url, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        lines = [await asyncio.wait_for(process.stdout.readline(), 60) for _ in range(count)]
        await asyncio.sleep(delay)
    finally:
        process.kill()
    rest, _ = await process.communicate()
    # The last line may be cut off: that promise never reached anybody.
    complete = b"".join(lines) + rest[: rest.rfind(b"\n") + 1]
    return [line.split() for line in complete.decode().splitlines()]


async def test_nothing_promised_is_lost(database_url: str) -> None:
    promises = await promises_until_killed(database_url, random.randint(1, 10), random.random() / 10)
    created = {request_id for what, request_id in promises if what == "created"}
    withdrawn = {request_id for what, request_id in promises if what == "withdrawn"}
    assert created

    registry = await Registry.open(database_url, Vault(VAULT_KEY))
    async with started(registry) as replica:
        page = await registry.page(limit=10_000)
        states = {record.id: record.state for record in page.records}
        assert created <= set(states)
        assert all(states[request_id] is State.WITHDRAWN for request_id in withdrawn)
        live = {request_id for request_id, state in states.items() if state is not State.WITHDRAWN}
        await until(lambda: set(replica.detector.held) == live)
    await registry.close()
