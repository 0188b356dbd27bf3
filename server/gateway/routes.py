"""The data plane's routes, as plain ASGI applications."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from server.api import models
from server.errors import ApiError, NotFound
from server.gateway.exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import Iterable

    from server.api.endpoint import Passage
    from server.auth import BearerKeys
    from server.gateway.exchange import Receive, Scope, Send
    from server.gateway.gateway import Gateway
    from server.upstream.pool import Pool


class Serve:
    """An endpoint of the gateway."""

    def __init__(self, gateway: Gateway, endpoint: Passage) -> None:
        self._gateway = gateway
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await not_found(scope, receive, send)
            return
        await self._gateway.handle(self._endpoint, scope, receive, send)


class Models:
    """``GET /v1/models`` and ``GET /v1/models/{id}``."""

    def __init__(self, pool: Pool, keys: BearerKeys) -> None:
        self._pool = pool
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            await not_found(scope, receive, send)
            return
        exchange = Exchange(receive, send)
        try:
            self._keys.check(scope["headers"])
            cards = self._pool.models()
            name = scope.get("path_params", {}).get("model")
            body = models.listing(cards) if name is None else models.one(cards, name)
        except ApiError as error:
            await exchange.refuse(error)
        else:
            await exchange.answer(200, body)


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """The answer on every other route: nothing is proxied blindly."""
    method, path = scope["method"], scope["path"][:200]
    await Exchange(receive, send).refuse(NotFound(f"There is no route {method} {path}.", code="unknown_route"))


def data_routes(gateway: Gateway, endpoints: Iterable[Passage], pool: Pool, keys: BearerKeys) -> list[Route]:
    """All routes of the data plane, the busiest first."""
    listed = Models(pool, keys)
    return [
        *(Route(endpoint.path, Serve(gateway, endpoint)) for endpoint in endpoints),
        Route("/v1/models", listed),
        Route("/v1/models/{model:path}", listed),
    ]
