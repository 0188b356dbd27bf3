"""A name for every answer."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID: Final = b"x-request-id"


def new_id() -> str:
    """An opaque name, never one that a client gives."""
    return uuid.uuid4().hex


class RequestIds:
    """Gives every HTTP answer of an application an ``x-request-id``, where it has none."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        def named(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                if all(name != REQUEST_ID for name, _ in headers):
                    message = {**message, "headers": [*headers, (REQUEST_ID, new_id().encode())]}
            return send(message)

        await self._app(scope, receive, named if scope["type"] == "http" else send)
