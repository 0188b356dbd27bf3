"""One request and its answer, over plain ASGI."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from server.errors import ApiError, RequestTimeout, TooLarge
from server.identity import REQUEST_ID, new_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON = b"application/json"


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


class Exchange:
    """Reads the request, writes the answer, and notices when the client leaves.

    ``id`` goes out as ``x-request-id`` with every answer. It is made here, never taken from the client.
    """

    __slots__ = ("_ended", "_receive", "_send", "_watcher", "gone", "id", "started")

    def __init__(self, receive: Receive, send: Send) -> None:
        self.id = new_id()
        self.started = False
        """Whether the head of an answer is out, after which no error can be sent."""
        self.gone = False
        """Whether the client left while ``watch`` was on."""
        self._ended = False
        self._receive = receive
        self._send = send
        self._watcher: asyncio.Task[None] | None = None

    async def body(self, headers: list[tuple[bytes, bytes]], limit: int, within: float) -> bytes:
        """The request's body.

        Raises:
            TooLarge: it has more than ``limit`` bytes. The rest is not read.
            RequestTimeout: it did not come in ``within`` seconds.
            ClientGone: the client left while sending it.
        """
        try:
            async with asyncio.timeout(within):
                return await self._read(headers, limit)
        except TimeoutError:
            raise RequestTimeout(
                f"The request body did not come within {within:g} seconds.", code="body_timeout"
            ) from None

    async def _read(self, headers: list[tuple[bytes, bytes]], limit: int) -> bytes:
        for name, value in headers:
            if name == b"content-length" and value.isdigit() and int(value) > limit:
                raise too_large(limit)
        message = await self._receive()
        whole: bytes = message.get("body", b"")
        if not message.get("more_body") and message["type"] == "http.request":
            if len(whole) > limit:
                raise too_large(limit)
            return whole
        parts = [whole]
        size = len(whole)
        while True:
            if message["type"] != "http.request":
                raise ClientGone
            if size > limit:
                raise too_large(limit)
            if not message.get("more_body"):
                return b"".join(parts)
            message = await self._receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])

    def watch(self) -> None:
        """From now until ``close``, cancel the current task if the client leaves."""
        task = asyncio.current_task()
        if task is not None:
            self._watcher = asyncio.create_task(self._watch(task))

    async def _watch(self, task: asyncio.Task[Any]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._ended:
            self.gone = True
            task.cancel()

    def close(self) -> None:
        """Stop watching."""
        self._ended = True
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send the answer's head."""
        self.started = True
        headers.append((REQUEST_ID, self.id.encode()))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def send(self, chunk: bytes) -> None:
        """Send a part of the answer."""
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def finish(self, chunk: bytes = b"") -> None:
        """Send the last part of the answer."""
        # A server reports "disconnected" as soon as an answer is complete; that is no reason to cancel.
        self._ended = True
        await self._send({"type": "http.response.body", "body": chunk, "more_body": False})

    async def answer(self, status: int, body: bytes, content_type: bytes = JSON) -> None:
        """Send a whole answer."""
        length = str(len(body)).encode()
        await self.start(status, [(b"content-type", content_type), (b"content-length", length)])
        await self.finish(body)

    async def refuse(self, error: ApiError, body: bytes | None = None) -> None:
        """Send an error: ``body``, or in OpenAI's envelope."""
        body = error.body() if body is None else body
        headers = [(name.encode(), value.encode()) for name, value in error.headers().items()]
        headers += [(b"content-type", JSON), (b"content-length", str(len(body)).encode())]
        await self.start(error.status, headers)
        await self.finish(body)


def too_large(limit: int) -> TooLarge:
    """The error for a body of more than ``limit`` bytes."""
    return TooLarge(f"The request body is larger than {limit} bytes.", param="body", code="body_too_large")
