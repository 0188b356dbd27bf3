from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from yarl import URL

from server.upstream.client import UpstreamClient, UpstreamError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ANYWHERE = URL("http://127.0.0.1:1")


class CountingClient(UpstreamClient):
    """Answers a question with itself, and counts how many it is asked at once."""

    now = most = asked = 0

    async def ask(self, url: URL, question: Any) -> Any:
        self.asked += 1
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.001)
        self.now -= 1
        if question == "bad":
            raise UpstreamError("bad")
        return question


@pytest.fixture
async def client() -> AsyncIterator[CountingClient]:
    async with CountingClient(api_key=None, timeout=1, connections=1) as made:
        yield made


async def test_many_questions_are_not_asked_all_at_once(client: CountingClient) -> None:
    assert await client.ask_all(ANYWHERE, range(100)) == list(range(100))
    assert 1 < client.most <= 16


async def test_the_first_failure_ends_the_rest(client: CountingClient) -> None:
    with pytest.raises(UpstreamError):
        await client.ask_all(ANYWHERE, ["bad", *range(100)])
    await asyncio.sleep(0.01)
    assert client.asked < 50
