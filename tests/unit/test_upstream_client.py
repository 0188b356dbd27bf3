from __future__ import annotations

import asyncio
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

import pytest
from yarl import URL

from server.upstream import client as client_module
from server.upstream.client import UpstreamClient, UpstreamError, UpstreamLost

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


class Forgetful:
    """A server that answers the first request of each connection and drops the connection at the second."""

    def __init__(self, *, reset: bool, deaf: bool = False) -> None:
        self.reset = reset
        self.deaf = deaf
        """Whether it now drops new connections too."""
        self.answered = 0
        self.together = asyncio.Event()
        """Set once answers may go out: requests until then are open at once, each on a connection of its own."""

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not self.deaf:
                await self._request(reader)
                await self.together.wait()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                self.answered += 1
            await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionResetError):
            pass
        finally:
            if self.reset:
                sock: socket.socket = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.close()

    async def _request(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().splitlines() if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.split(b":")[1]))


@pytest.fixture(params=[False, True], ids=["closed", "reset"])
async def forgetful(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Forgetful, URL]]:
    made = Forgetful(reset=request.param)
    async with await asyncio.start_server(made.connected, "127.0.0.1", 0) as server:
        yield made, URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")


async def test_connections_that_the_upstream_dropped_meanwhile_lose_no_request(
    forgetful: tuple[Forgetful, URL],
) -> None:
    upstream, url = forgetful
    async with UpstreamClient(api_key=None, timeout=5, connections=8) as client:
        pooled = [asyncio.create_task(client.post(url, b"{}")) for _ in range(6)]
        await asyncio.sleep(0.05)
        upstream.together.set()
        assert await asyncio.gather(*pooled) == [b"{}"] * 6
        assert [await client.post(url, b"{}") for _ in range(6)] == [b"{}"] * 6
    assert upstream.answered == 12


async def test_a_process_that_was_kept_from_running_does_not_hold_it_against_the_upstream(
    forgetful: tuple[Forgetful, URL], monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream, url = forgetful
    upstream.together.set()
    monkeypatch.setattr(client_module, "_CONNECT_TIMEOUT", 0.2)
    for steps in (1, 3):
        async with UpstreamClient(api_key=None, timeout=5, connections=8) as client:
            asking = asyncio.create_task(client.post(url, b"{}"))
            for _ in range(steps):
                await asyncio.sleep(0)
            time.sleep(0.3)  # noqa: ASYNC251 - it is the loop that must stand still
            assert await asking == b"{}"


async def test_an_upstream_that_drops_new_connections_too_is_lost(forgetful: tuple[Forgetful, URL]) -> None:
    upstream, url = forgetful
    upstream.deaf = True
    async with UpstreamClient(api_key=None, timeout=5, connections=8) as client:
        with pytest.raises(UpstreamLost):
            await client.post(url, b"{}")
