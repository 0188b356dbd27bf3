"""What an operator's machinery asks a gateway: is it alive, is it ready, what are its figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import orjson
from fastapi import Request  # noqa: TC002 (FastAPI resolves a dependency's annotations)
from starlette.responses import Response
from starlette.routing import Route

from server.errors import ApiError, NotFound, Unavailable
from server.gateway.exchange import Exchange
from server.gateway.routes import not_found
from server.openapi import describe
from server.telemetry import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastapi import FastAPI
    from starlette.exceptions import HTTPException
    from starlette.types import Receive, Scope, Send

    from server.api.endpoint import Passage
    from server.auth import BearerKeys
    from server.telemetry import Telemetry


class Serves(Protocol):
    """What can say what it serves, and why it cannot now."""

    @property
    def endpoints(self) -> Sequence[Passage]: ...

    def missing(self) -> str: ...


class Status(Protocol):
    """How far a gateway's start has come."""

    telemetry: Telemetry
    admin_keys: BearerKeys
    stage: str
    failure: str

    @property
    def parts(self) -> Serves | None: ...


def health_routes(status: Status) -> list[Route]:
    """``/healthz`` and ``/readyz``, open to all: neither depends on what is forgotten."""

    async def healthz(_: Request) -> Response:
        return _json(503 if status.failure else 200, {"status": status.failure or "alive"})

    async def readyz(_: Request) -> Response:
        waiting = status.failure or (status.parts.missing() if status.parts else status.stage)
        return _json(503 if waiting else 200, {"ready": not waiting, "waiting_for": waiting or None})

    return [Route("/healthz", healthz), Route("/readyz", readyz)]


def operator_routes(status: Status, app: FastAPI) -> list[Route]:
    """``/metrics`` and the OpenAPI document, with the admin key: figures tell how often a scope acts."""

    async def metrics(request: Request) -> Response:
        return _guarded(status, request) or Response(status.telemetry.render(), headers={"content-type": CONTENT_TYPE})

    async def schema(request: Request) -> Response:
        if refusal := _guarded(status, request):
            return refusal
        if status.parts is None:
            return _error(_starting())
        return _json(200, describe(app.openapi(), status.parts.endpoints))

    return [Route("/metrics", metrics), Route("/admin/v1/openapi.json", schema)]


def authoriser(keys: BearerKeys) -> Callable[[Request], None]:
    """A FastAPI dependency that raises Unauthorized unless a request carries one of the keys."""

    def authorise(request: Request) -> None:
        keys.check(request.headers.raw)

    return authorise


class Fallback:
    """Every other route: a 404, or a 503 while there is nothing yet that could know better."""

    def __init__(self, status: Status) -> None:
        self._status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        elif self._status.parts is None:
            await Exchange(receive, send).refuse(_starting())
        else:
            await not_found(scope, receive, send)


async def envelope(request: Request, error: Exception) -> Response:
    """Starlette's own errors (a method that a route does not take) in OpenAI's envelope."""
    http: HTTPException = error  # type: ignore[assignment]
    wrapped = NotFound(f"There is no route {request.method} {request.url.path[:200]}.", code="unknown_route")
    return Response(wrapped.body(), 405 if http.status_code == 405 else 404, http.headers, "application/json")


def _guarded(status: Status, request: Request) -> Response | None:
    try:
        status.admin_keys.check(request.headers.raw)
    except ApiError as error:
        return _error(error)
    return None


def _starting() -> Unavailable:
    return Unavailable("The server is starting; try again shortly.", code="starting", retry_after=5)


def _error(error: ApiError) -> Response:
    return Response(error.body(), error.status, error.headers(), "application/json")


def _json(code: int, value: Any) -> Response:
    return Response(orjson.dumps(value), code, media_type="application/json")
