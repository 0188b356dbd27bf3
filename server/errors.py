"""One exception tree, one error envelope: OpenAI's.

- ApiError
    - BadRequest (400), Unauthorized (401), Forbidden (403), NotFound (404), Conflict (409),
      RequestTimeout (408), TooLarge (413), Unprocessable (422), Busy (429), Unavailable (503)

The wording of a data-plane error depends on settings and on the request's shape only, never on what
a scope matched.
"""

from __future__ import annotations

import traceback
from typing import ClassVar

import orjson


class ApiError(Exception):
    """An error for a client. ``param`` names the offending field, ``message`` says what is allowed."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "api_error"

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, retry_after: int | None = None
    ):
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.retry_after = retry_after

    def body(self) -> bytes:
        """The error as OpenAI's JSON envelope."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return orjson.dumps({"error": error})

    def headers(self) -> dict[str, str]:
        """Headers that belong to the error."""
        return {} if self.retry_after is None else {"retry-after": str(self.retry_after)}


class BadRequest(ApiError):
    status = 400
    type = "invalid_request_error"


class Unauthorized(ApiError):
    status = 401
    type = "authentication_error"


class Forbidden(ApiError):
    status = 403
    type = "permission_error"


class NotFound(ApiError):
    status = 404
    type = "not_found_error"


class Conflict(ApiError):
    status = 409
    type = "conflict_error"


class RequestTimeout(ApiError):
    status = 408
    type = "invalid_request_error"

    def headers(self) -> dict[str, str]:
        # The rest of the request may still come, and is not to be read as another.
        return super().headers() | {"connection": "close"}


class TooLarge(ApiError):
    status = 413
    type = "invalid_request_error"


class Unprocessable(ApiError):
    status = 422
    type = "invalid_request_error"


class Busy(ApiError):
    status = 429
    type = "rate_limit_error"


class Unavailable(ApiError):
    status = 503
    type = "service_unavailable_error"


def traced(error: Exception) -> str:
    """An exception for a log, by its type and frames: its message may quote a prompt or forget text."""
    return f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}"


def undecided() -> Unavailable:
    """The error where detection has no verdict. It reads like any overload."""
    return Unavailable("The server is overloaded; try again shortly.", code="undecided", retry_after=1)
