"""Passing an upstream's answer to the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

from server.gateway.usage import EventSplitter, Usage, join
from server.upstream.client import UpstreamError

if TYPE_CHECKING:
    from server.gateway.exchange import Exchange

_STREAM = "text/event-stream"


async def relay(exchange: Exchange, response: aiohttp.ClientResponse) -> None:
    """Send an answer as it is: status, content type, and every byte as it comes.

    Raises:
        UpstreamError: the upstream broke off. If the exchange has started, all that came is out.
    """
    headers = [(b"content-type", response.headers.get("content-type", "application/json").encode("latin-1"))]
    length = response.headers.get("content-length")
    try:
        if length is not None:
            body = await response.read()
            headers.append((b"content-length", length.encode("latin-1")))
            await exchange.start(response.status, headers)
            await exchange.finish(body)
            return
        await exchange.start(response.status, headers)
        read = response.content.readany
        while chunk := await read():
            await exchange.send(chunk)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise UpstreamError(type(error).__name__) from error
    await exchange.finish()


async def relay_corrected(exchange: Exchange, response: aiohttp.ClientResponse, usage: Usage) -> None:
    """Send an answer with its usage corrected, each event as it comes. Raises as ``relay`` does."""
    kind = response.headers.get("content-type", "application/json")
    try:
        if not kind.startswith(_STREAM):
            body = usage.whole(await response.read())
            await exchange.answer(response.status, body, kind.encode("latin-1"))
            return
        await exchange.start(response.status, [(b"content-type", kind.encode("latin-1"))])
        splitter = EventSplitter()
        while chunk := await response.content.readany():
            if events := [usage.event(event) for event in splitter.feed(chunk)]:
                await exchange.send(join(events))
        last = usage.event(rest) if (rest := splitter.rest()) else b""
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise UpstreamError(type(error).__name__) from error
    await exchange.finish(last)
