"""What routes of the admin API have in common: ids in their paths, and the errors that they answer."""

import re
from typing import Annotated, Any, Final, Literal

from fastapi import Depends, Path, Query

from server.admin.identifiers import JOB_ID, REQUEST_ID
from server.admin.replies import ErrorReply
from server.registry.jobs import UnknownJob
from server.registry.lifecycle import UnknownRequest

ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": ErrorReply, "description": "A field is missing, unknown or not allowed; `param` names it"},
    401: {"model": ErrorReply, "description": "The admin key is missing or wrong"},
    403: {"model": ErrorReply, "description": "The key is not allowed to do this"},
    413: {"model": ErrorReply, "description": "The body is too large"},
    503: {"model": ErrorReply, "description": "The database or the detector cannot be used now"},
    "default": {"model": ErrorReply, "description": "Any other error"},
}
NOT_FOUND: Final[dict[int | str, dict[str, Any]]] = {404: {"model": ErrorReply, "description": "There is none"}}
CONFLICT: Final[dict[int | str, dict[str, Any]]] = {
    409: {
        "model": ErrorReply,
        "description": "The request's state does not allow it, it exists already, or an upstream cannot enforce it",
    }
}


def _request_id(id: Annotated[str, Path(description="Id of a forget request")]) -> str:  # noqa: A002 (part of the API)
    if not re.fullmatch(REQUEST_ID, id):
        raise UnknownRequest
    return id


def _job_id(id: Annotated[str, Path(description="Id of a job")]) -> str:  # noqa: A002 (part of the API)
    if not re.fullmatch(JOB_ID, id):
        raise UnknownJob
    return id


RequestId = Annotated[str, Depends(_request_id)]
Wait = Annotated[
    Literal["active"] | None,
    Query(description="Answer once it is enforced, in shadow or failed, or after 30 seconds; `state` tells which"),
]
JobId = Annotated[str, Depends(_job_id)]
