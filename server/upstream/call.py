"""One request on its way to an upstream."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from server.upstream.client import UpstreamLost

if TYPE_CHECKING:
    import aiohttp

    from server.upstream.pool import Pool, Upstream


class Call:
    """Starts at once, in a task. Every call must be closed; closing one that goes on aborts it."""

    __slots__ = ("_closed", "_pool", "_task", "arrived_at", "upstream")

    def __init__(self, pool: Pool, upstream: Upstream, path: str, payload: bytes) -> None:
        self.upstream = upstream
        self._pool = pool
        self._closed = False
        upstream.in_flight += 1
        self.arrived_at = 0.0
        """When the answer's head came, by ``time.perf_counter``; 0 until then."""
        self._task = asyncio.create_task(self._send(path, payload))

    async def _send(self, path: str, payload: bytes) -> aiohttp.ClientResponse:
        response = await self._pool.client.send(self.upstream.route(path), payload)
        self.arrived_at = time.perf_counter()
        return response

    async def response(self) -> aiohttp.ClientResponse:
        """The answer, once its head has come. Raises UpstreamError."""
        try:
            return await self._task
        except UpstreamLost:
            self._pool.failed(self.upstream)
            raise

    async def arrives_before(self, other: asyncio.Task[Any]) -> bool:
        """Wait for the answer's head, or its failure, or the other task. Whether ``other`` still goes on."""
        await asyncio.wait((self._task, other), return_when=asyncio.FIRST_COMPLETED)
        return not other.done()

    def arrived(self) -> aiohttp.ClientResponse | None:
        """The answer, if its head has come already."""
        if self._task.done() and not self._task.cancelled() and self._task.exception() is None:
            return self._task.result()
        return None

    def held(self, verdict: float) -> float:
        """Seconds that something of the answer has waited for the verdict, which has just come.

        Of a stream, whose head comes before there is anything to wait, it is an upper bound.
        """
        response = self.arrived()
        begun = response is not None and response.content.total_bytes > 0
        return max(verdict - self.arrived_at, 0.0) if begun else 0.0

    def close(self) -> None:
        """Give the connection back, or cut it if the answer is not read to its end: vLLM then stops."""
        if self._closed:
            return
        self._closed = True
        self.upstream.in_flight -= 1
        if self._task.done():
            _discard(self._task)
        else:
            self._task.add_done_callback(_discard)
            self._task.cancel()


def _discard(task: asyncio.Task[aiohttp.ClientResponse]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()
