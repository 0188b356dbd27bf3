"""Talking HTTP to upstreams: one pooled session for the process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
from multidict import CIMultiDict

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from yarl import URL

# Under uvicorn's 5 s, after which vLLM closes an idle connection that we might be about to use.
_KEEP_ALIVE = 4.0
_CONNECT_TIMEOUT = 5.0
_PROBE_TIMEOUT = 10.0
# Questions of one request that are asked at once: a body may hold thousands of prompts.
_AT_ONCE = 16


class UpstreamError(Exception):
    """An upstream could not be reached, broke off, or answered a question of ours unusably."""


class UpstreamLost(UpstreamError):
    """An upstream could not be connected to, or cut the connection before it answered."""


class UpstreamRefused(UpstreamError):
    """An upstream answered a question of ours with a status of 400 or more."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


class UpstreamClient:
    """Pooled connections. Create it inside the running event loop, close it with ``close``.

    ``connections`` bounds the pool; a request beyond it waits, so keep it above the number of
    requests that can be in flight.
    """

    def __init__(self, *, api_key: str | None, timeout: float, connections: int) -> None:
        headers = CIMultiDict({"accept-encoding": "identity", "content-type": "application/json"})
        if api_key:
            headers["authorization"] = f"Bearer {api_key}"
        self._session = _session(
            headers, timeout, aiohttp.TCPConnector(limit=connections, keepalive_timeout=_KEEP_ALIVE, ttl_dns_cache=60)
        )
        self._unpooled = _session(
            headers, timeout, aiohttp.TCPConnector(limit=connections, force_close=True, ttl_dns_cache=60)
        )
        self._probe_timeout = aiohttp.ClientTimeout(total=_PROBE_TIMEOUT)

    async def __aenter__(self) -> UpstreamClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()
        await self._unpooled.close()

    async def send(self, url: URL, body: bytes) -> aiohttp.ClientResponse:
        """POST a JSON body; the answer's body is not read yet. Close or release the response.

        Cancelling, or closing the response, closes the connection: vLLM then aborts the generation.

        Raises:
            UpstreamLost: there is no connection.
            UpstreamError: no answer came in time.
        """
        try:
            try:
                return await self._session.post(url, data=body, allow_redirects=False)
            except (aiohttp.ClientConnectorError, aiohttp.SocketTimeoutError):
                raise
            except (aiohttp.ClientConnectionError, ConnectionResetError):
                # No byte of an answer came, and it need not be the upstream's fault: it drops idle connections, all
                # of the pool perhaps; and where this process was kept from running, its timer for connecting ends
                # before it sees that it is connected. A new connection tells.
                return await self._unpooled.post(url, data=body, allow_redirects=False)
        except TimeoutError as error:  # also aiohttp's; the upstream may only be slow
            raise UpstreamError(type(error).__name__) from error
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamLost(type(error).__name__) from error

    async def post(self, url: URL, body: bytes) -> bytes:
        """POST JSON, and give back the body of the answer.

        Raises:
            UpstreamRefused: a status of 400 or more.
            UpstreamError: no answer.
        """
        response = await self.send(url, body)
        try:
            if response.status >= 400:
                raise UpstreamRefused(response.status)
            return await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise UpstreamError(type(error).__name__) from error
        finally:
            response.close()  # does nothing to a connection whose answer was read to the end

    async def ask(self, url: URL, question: Any) -> Any:
        """POST JSON, and give back the JSON answered.

        Raises:
            UpstreamRefused: a status of 400 or more.
            UpstreamError: no answer, or none that is JSON.
        """
        body = await self.post(url, orjson.dumps(question))
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise UpstreamError(type(error).__name__) from error

    async def ask_all(self, url: URL, questions: Iterable[Any]) -> list[Any]:
        """Ask several questions, some at once, as ``ask`` does. The first failure ends the rest."""
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(question: Any) -> Any:
            async with slots:
                return await self.ask(url, question)

        tasks = [asyncio.create_task(one(question)) for question in questions]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def get(self, url: URL) -> bytes:
        """GET a body. Raises UpstreamRefused on a status of 400 or more, UpstreamError without an answer."""
        try:
            async with self._session.get(url, timeout=self._probe_timeout, allow_redirects=False) as response:
                body = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise UpstreamError(type(error).__name__) from error
        if response.status >= 400:
            raise UpstreamRefused(response.status)
        return body


def _session(headers: CIMultiDict[str], timeout: float, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        headers=headers,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("user-agent", "accept"),
        timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=_CONNECT_TIMEOUT, sock_read=timeout),
        trust_env=False,
    )
