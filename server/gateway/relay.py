"""Passing an upstream's answer to the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

from server.upstream.client import UpstreamError

if TYPE_CHECKING:
    from server.gateway.exchange import Exchange


async def relay(exchange: Exchange, response: aiohttp.ClientResponse) -> None:
    """Send an answer as it is: status, content type, when to try again, and every byte as it comes.

    Raises:
        UpstreamError: the upstream broke off. If the exchange has started, all that came is out.
    """
    headers = [(b"content-type", response.headers.get("content-type", "application/json").encode("latin-1"))]
    if response.status >= 400 and (wait := response.headers.get("retry-after")):
        headers.append((b"retry-after", wait.encode("latin-1")))
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
