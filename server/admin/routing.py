"""A route whose every error has OpenAI's envelope, and whose body has a limit."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from guards.errors import CannotDecide
from server.admin.bodies import MAX_BODY_BYTES, MAX_NESTING, TAGS
from server.api.body import parse
from server.errors import ApiError, BadRequest, TooLarge, Unavailable, traced
from server.registry.database import DATABASE_ERRORS
from server.upstream.client import UpstreamError
from server.upstream.pool import no_upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

_log = logging.getLogger(__name__)

_LONGEST_NAME: Final = 64
_MESSAGES: Final = {
    "extra_forbidden": "is not a known field",
    "missing": "is required",
    "model_attributes_type": "must be a JSON object, with content-type application/json",
    "model_type": "must be a JSON object",
    "dict_type": "must be a JSON object",
}


class AdminRoute(APIRoute):
    """Answers errors itself, so that no handler of the application has to know them."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, with its body read within the limit and its errors in the envelope."""
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await handle(await _bounded(request))
            except ApiError as error:
                return _response(error)
            except RequestValidationError as error:
                return _response(_bad_request(error.errors()))
            except HTTPException as error:
                if error.status_code >= 500:
                    raise
                return _response(BadRequest("The body is not JSON that can be read."))
            except CannotDecide as error:
                return _response(Unavailable(f"Detection cannot decide: {error}.", retry_after=1))
            except UpstreamError as error:
                _log.warning("%s: an upstream failed: %s", self.name, error)
                return _response(no_upstream())
            except DATABASE_ERRORS as error:
                cause = getattr(error, "orig", None) or error
                _log.error("%s: the database failed: %s", self.name, type(cause).__name__)
                return _response(Unavailable("The registry's database cannot be used now.", retry_after=5))
            except Exception as error:
                _log.error("%s failed: %s", self.name, traced(error))
                return _response(ApiError("The server failed to answer.", code="internal_error"))

        return handler


def _response(error: ApiError) -> Response:
    return Response(error.body(), error.status, headers=error.headers(), media_type="application/json")


async def _bounded(request: Request) -> Request:
    """The request with its body read and found to be an object, not too deep. Unlike ``json``, orjson takes no lone
    surrogate.
    """
    too_large = TooLarge(f"The body is larger than {MAX_BODY_BYTES} bytes, the most that is accepted.", param="body")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > MAX_BODY_BYTES:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise too_large
    raw = bytes(body)
    if raw:
        parse(raw, max_nesting=MAX_NESTING)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": raw, "more_body": False}

    return Request(request.scope, receive)


def _bad_request(errors: Sequence[Any]) -> BadRequest:
    """The first error, by the field's name and what is allowed; never by what was sent."""
    error = errors[0]
    place, *path = error["loc"]
    param = _name(path) or str(place)
    message = _MESSAGES.get(error["type"]) or error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error" and not path:
        return BadRequest(f"The body: {message}.", param=None)
    more = f" {len(errors) - 1} more errors." if len(errors) > 1 else ""
    return BadRequest(f"{param}: {message}.{more}", param=param)


def _name(path: Sequence[str | int]) -> str:
    name = ""
    for part in path:
        if isinstance(part, int):
            name += f"[{part}]"
        elif part not in TAGS:
            shown = part[:_LONGEST_NAME].encode("ascii", "backslashreplace").decode()
            name += f".{shown}" if name else shown
    return name
