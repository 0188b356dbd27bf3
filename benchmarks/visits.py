"""Requests over plain keep-alive connections that cost next to nothing themselves, for ``benchmarks/overhead.py``."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import numpy as np
import orjson

QUESTIONS = (
    "What is the boiling point of water at sea level?",
    "Write a haiku about autumn rain.",
    "How do I reverse a list in Python?",
    "Explain how a bicycle stays upright.",
    "Give me three ideas for a quick dinner with lentils.",
    "What does the word serendipity mean?",
    "Summarise the causes of the French Revolution in two sentences.",
    "How many minutes are there in a week?",
)


@dataclass(frozen=True)
class Target:
    """A way to an upstream."""

    name: str
    url: str
    model: str
    path: str = "/v1/chat/completions"
    key: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    slow: bool = False
    """Whether it answers so much slower that a tenth of the requests gives the same precision."""

    def request(self, number: int, *, stream: bool) -> bytes:
        """The bytes of one HTTP request."""
        content = f"{QUESTIONS[number % len(QUESTIONS)]} ({number})"
        body = {"model": self.model, "messages": [{"role": "user", "content": content}], "max_tokens": 1, **self.extra}
        if stream:
            body |= {"stream": True}
        payload = orjson.dumps(body)
        parts = urlsplit(self.url)
        head = [
            f"POST {parts.path}{self.path} HTTP/1.1",
            f"host: {parts.netloc}",
            "content-type: application/json",
            f"content-length: {len(payload)}",
        ]
        if self.key:
            head.append(f"authorization: Bearer {self.key}")
        return "\r\n".join([*head, "", ""]).encode() + payload


@dataclass
class Round:
    """One visit to one target: latencies in milliseconds, requests per second over all clients."""

    p50_ms: float
    p99_ms: float
    mean_ms: float
    per_second: float


class Client(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection that costs next to nothing itself."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._waiter: asyncio.Future[float] | None = None
        self._first = 0.0
        self._length: int | None = None
        self._body_at = -1
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(ConnectionError("the server closed the connection"))

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)

    async def ask(self, request: bytes) -> tuple[float, float]:
        """Send a request; seconds to the first byte of the answer's body, and to its end."""
        assert self.transport is not None
        self._buffer.clear()
        self._body_at, self._first = -1, 0.0
        self._waiter = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        self.transport.write(request)
        ended = await self._waiter
        return self._first - began, ended - began

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._body_at < 0:
            if (end := self._buffer.find(b"\r\n\r\n")) < 0:
                return
            head = bytes(self._buffer[:end]).lower()
            self._body_at = end + 4
            if b" 200 " not in head.split(b"\r\n", 1)[0]:
                self._fail(RuntimeError(f"unexpected answer: {bytes(self._buffer[:400])!r}"))
                return
            _, found, rest = head.partition(b"content-length: ")
            self._length = int(rest.split(b"\r\n", 1)[0]) if found else None
        if not self._first and len(self._buffer) > self._body_at:
            self._first = time.perf_counter()
        if self._length is None:
            done = self._buffer.endswith(b"0\r\n\r\n")
        else:
            done = len(self._buffer) - self._body_at >= self._length
        if done and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(time.perf_counter())


async def visit(target: Target, clients: int, requests: int, *, first_byte: bool, salt: int) -> Round:
    """Send ``requests`` through ``clients`` connections, each as soon as its last is answered."""
    loop = asyncio.get_running_loop()
    address = urlsplit(target.url)

    async def connect() -> Client:
        _, client = await loop.create_connection(Client, address.hostname or "", address.port or 80)
        return client

    connections = [await connect() for _ in range(clients)]
    numbers = iter(range(salt, salt + requests + clients))
    taken: list[float] = []

    async def go(slot: int, *, count: bool) -> None:
        for number in numbers:
            client = connections[slot]
            if client.transport is None or client.transport.is_closing():  # a slow server dropped it while idle
                client = connections[slot] = await connect()
            first, whole = await client.ask(target.request(number, stream=first_byte))
            taken.append(first if first_byte else whole)
            if not count:
                return

    await asyncio.gather(*(go(slot, count=False) for slot in range(clients)))  # warms each connection
    taken.clear()
    began = time.perf_counter()
    await asyncio.gather(*(go(slot, count=True) for slot in range(clients)))
    elapsed = time.perf_counter() - began
    for client in connections:
        if client.transport is not None:
            client.transport.close()
    p50, p99 = np.percentile(taken, [50, 99]) * 1e3
    return Round(float(p50), float(p99), float(np.mean(taken)) * 1e3, len(taken) / elapsed)
