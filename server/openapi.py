"""The OpenAPI document: FastAPI's of the admin API, with the data plane's endpoints by their rules."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import orjson

from server.api import models
from server.api.examples import EXAMPLES
from server.api.schema import object_schema
from server.errors import (
    ApiError,
    BadRequest,
    Busy,
    NotFound,
    RequestTimeout,
    TooLarge,
    Unauthorized,
    Unavailable,
    undecided,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from server.api.body import Body
    from server.api.endpoint import Passage
    from server.api.schema import Schema

_KEYS: Final[Schema] = {
    "adminKey": {"type": "http", "scheme": "bearer", "description": "UNREMEMBER_ADMIN_KEY, or admin.key"},
    "apiKey": {"type": "http", "scheme": "bearer", "description": "One of UNREMEMBER_API_KEYS, or api.key"},
    "apiKeyHeader": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same"},
}
_ADMIN: Final[list[Schema]] = [{"adminKey": []}]
_CLIENT: Final[list[Schema]] = [{"apiKey": []}, {"apiKeyHeader": []}]
_ABOUT: Final = (
    "The OpenAI-compatible API is served on UNREMEMBER_PORT. The admin API is too, or on UNREMEMBER_ADMIN_PORT where "
    "that is set. Every answer carries an opaque `x-request-id`, under which `GET /admin/v1/decisions/{id}` tells what "
    "was decided. In requests of the data plane, null is the same as no field."
)

_ERRORS: Final[Mapping[ApiError, str]] = {
    BadRequest("`top_k` must be an integer.", param="top_k"): (
        "A field is missing, not accepted, unknown or of the wrong type; `param` names it"
    ),
    Unauthorized("The API key is not known.", code="invalid_api_key"): "The key is missing or wrong",
    models.no_such_model("other"): "There is no such model",
    RequestTimeout("The request body did not arrive in time."): "The body did not arrive in time",
    TooLarge("The request body is larger than 1000 bytes.", param="body", code="body_too_large"): (
        "The body is too large"
    ),
    Busy("Too many requests at once; try again shortly.", code="too_many_requests", retry_after=1): (
        "Too many requests are in flight"
    ),
    undecided(): "No model server can answer now, or the gateway is overloaded or starting",
}
_ERROR: Final[Schema] = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"$ref": "#/components/schemas/ErrorDetail"}},
}
_REQUEST_ID: Final[Schema] = {
    "x-request-id": {"description": "Names this exchange, and nothing else", "schema": {"type": "string"}}
}
_RETRY_AFTER: Final[Schema] = {
    "retry-after": {"description": "Seconds after which to try again", "schema": {"type": "integer"}}
}


def describe(admin: Mapping[str, Any], endpoints: Iterable[Passage]) -> Schema:
    """One document of everything that is served, from FastAPI's of the admin API and the endpoints' rules."""
    paths: dict[str, Schema] = {endpoint.path: {"post": _operation(endpoint)} for endpoint in endpoints}
    paths |= _models() | _operators()
    for path, operations in admin["paths"].items():
        paths[path] = {method: operation | {"security": _ADMIN} for method, operation in operations.items()}
    info = admin["info"] | {"description": _ABOUT}
    components = admin["components"] | {"securitySchemes": _KEYS}
    return {**admin, "info": info, "paths": paths, "components": components}


def _operation(endpoint: Passage) -> Schema:
    example = EXAMPLES[endpoint.name]
    answer: Schema = {"application/json": {"schema": {"type": "object"}, "example": example.answer}}
    if example.events:
        answer["text/event-stream"] = {"schema": {"type": "string"}, "example": "\n".join(example.events) + "\n\n"}
    body = object_schema(endpoint.rules, endpoint.nested)
    if required := _required(endpoint, example.request):
        body["required"] = required
    return {
        "tags": ["data plane"],
        "summary": example.summary,
        "description": _refusals(endpoint.rules.refused),
        "operationId": endpoint.name,
        "security": _CLIENT,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": body, "example": example.request}},
        },
        "responses": {
            "200": {"description": "The model server's answer", "headers": _REQUEST_ID, "content": answer},
            **_failures((ApiError,), endpoint.error),
            "default": {"description": "What the model server refuses is answered with its own error"},
        },
    }


def _required(endpoint: Passage, request: Body) -> list[str]:
    """The fields of an example without which it is refused by their name."""
    required = []
    for name in request:
        try:
            endpoint.check({other: value for other, value in request.items() if other != name})
        except BadRequest as error:
            if error.param == name:
                required.append(name)
    return required


def _refusals(refused: Mapping[str, str]) -> str:
    """The fields that are never accepted, by the reason."""
    by_reason = groupby(sorted(refused, key=lambda name: (refused[name], name)), key=lambda name: refused[name])
    sentences = [f"{', '.join(f'`{name}`' for name in names)}: {reason}." for reason, names in by_reason]
    return "\n\n".join(["Never accepted, whatever the prompt:", *sentences])


def _failures(kinds: tuple[type[ApiError], ...], envelope: Callable[[ApiError], bytes]) -> Schema:
    return {
        str(error.status): {
            "description": words,
            "headers": _REQUEST_ID | (_RETRY_AFTER if error.retry_after is not None else {}),
            "content": {"application/json": {"schema": _ERROR, "example": orjson.loads(envelope(error))}},
        }
        for error, words in _ERRORS.items()
        if isinstance(error, kinds)
    }


def _models() -> dict[str, Schema]:
    card = {"id": "smollm2", "object": "model", "created": 1_795_305_600, "owned_by": "vllm", "max_model_len": 4096}
    cards = {"smollm2": card}
    name = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
    every = _reading("List the public models", models.listing(cards), (Unauthorized, Unavailable))
    one = _reading("Show a public model", models.one(cards, "smollm2"), (Unauthorized, NotFound, Unavailable))
    return {"/v1/models": {"get": every}, "/v1/models/{model}": {"parameters": [name], "get": one}}


def _reading(summary: str, body: bytes, failures: tuple[type[ApiError], ...]) -> Schema:
    content = {"application/json": {"schema": {"type": "object"}, "example": orjson.loads(body)}}
    answer: Schema = {"200": {"description": "Model cards", "headers": _REQUEST_ID, "content": content}}
    return {
        "tags": ["data plane"],
        "summary": summary,
        "security": _CLIENT,
        "responses": answer | _failures(failures, ApiError.body),
    }


def _operators() -> dict[str, Schema]:
    routes: tuple[tuple[str, str, list[Schema], Mapping[str, str]], ...] = (
        ("/healthz", "Whether the process lives", [], {"200": "It does", "503": "It could not start"}),
        ("/readyz", "Whether requests are served", [], {"200": "They are", "503": "Not yet; `waiting_for` says why"}),
        ("/metrics", "Figures for Prometheus", _ADMIN, {"200": "Text", "401": "The admin key is missing or wrong"}),
    )
    return {
        path: {
            "get": {
                "tags": ["operation"],
                "summary": summary,
                "security": security,
                "responses": {status: {"description": words} for status, words in answers.items()},
            }
        }
        for path, summary, security, answers in routes
    }
