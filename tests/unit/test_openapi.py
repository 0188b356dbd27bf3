"""The OpenAPI document says what the rules say, of every endpoint there is."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import httpx
import jsonschema
import pytest
from fastapi import FastAPI
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from server.admin.replies import Reply
from server.admin.routes import create_admin_router
from server.api import fields
from server.api.endpoint import Limits, Passage
from server.api.examples import EXAMPLES
from server.api.fields import Type
from server.api.schema import type_schema
from server.auth import BearerKeys
from server.gateway.routes import data_routes
from server.openapi import describe
from server.operations import operator_routes
from tests.fakes.codecs import concrete, subclasses

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from server.api.fields import FieldRules

EXTRA = ("hint", "messages.hint", "messages.content.hint", "input.hint")
"""Fields that an operator lets pass."""


def all_endpoints() -> list[Passage]:
    return [one(Limits(extra_fields=EXTRA)) for one in concrete(Passage)]


ENDPOINTS = all_endpoints()
each_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)


@functools.cache
def application() -> FastAPI:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    nothing: Any = None
    parameters = inspect.signature(create_admin_router).parameters
    app.include_router(create_admin_router(*([nothing] * (len(parameters) - 1)), lambda: None))
    return app


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return describe(application().openapi(), ENDPOINTS)


def answers_of(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The admin API's answers: where each is given, and its schema's name."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items() if path.startswith("/admin/") else ():
            for status, answer in operation["responses"].items():
                if content := answer.get("content", {}).get("application/json"):
                    yield f"{method} {path} {status}", content["schema"].get("$ref", "").rpartition("/")[2]


def test_every_answer_of_the_admin_api_has_an_example_that_is_one(document: dict[str, Any]) -> None:
    given = [(where, name) for where, name in answers_of(document) if name != "HTTPValidationError"]
    assert len(given) > 20
    for where, name in given:
        assert document["components"]["schemas"].get(name, {}).get("examples"), where
    described = [one for one in subclasses(Reply) if "json_schema_extra" in vars(one)["model_config"]]
    assert {one.__name__ for one in described} >= {name for _, name in given}
    for one in described:
        schema = one.model_json_schema(mode="serialization")
        for sample in schema["examples"]:
            Draft202012Validator(schema).validate(sample)
            assert set(sample) == set(schema["properties"]), one


def schema_of(document: Mapping[str, Any], endpoint: Passage) -> dict[str, Any]:
    operation = document["paths"][endpoint.path]["post"]
    found: dict[str, Any] = operation["requestBody"]["content"]["application/json"]["schema"]
    return found


def check_object(schema: Mapping[str, Any], rules: FieldRules) -> None:
    assert schema["additionalProperties"] is False
    assert schema.get("x-refused", {}) == rules.refused
    assert set(schema["properties"]) == set(rules.allowed)
    for name, wanted in rules.allowed.items():
        described = schema["properties"][name]
        assert "const" in described or described["description"].lower() == f"{wanted.words}.".lower()


@each_endpoint
def test_every_field_is_described_and_every_refusal_has_its_reason(document: dict[str, Any], endpoint: Passage) -> None:
    schema = schema_of(document, endpoint)
    check_object(schema, endpoint.rules)
    said = document["paths"][endpoint.path]["post"]["description"]
    for name, reason in endpoint.rules.refused.items():
        assert f"`{name}`" in said
        assert reason in said
    for place, kinds in endpoint.nested.items():
        within = [schema]
        for step in place.split("."):
            items = [inner["properties"][step]["items"] for inner in within if step in inner["properties"]]
            within = [one for item in items for one in item.get("anyOf", [item])]
        assert len(within) % len(kinds) == 0
        assert within
        for one in within:
            kind = one["properties"].get("type", {}).get("const", "")
            check_object(one, kinds[kind])


@each_endpoint
def test_the_example_is_accepted(document: dict[str, Any], endpoint: Passage) -> None:
    request = EXAMPLES[endpoint.name].request
    endpoint.check(dict(request))
    schema = schema_of(document, endpoint)
    jsonschema.validate(request, schema)
    for name in schema.get("required", ()):
        assert name in request
    assert ("stream" in endpoint.rules.allowed) == bool(EXAMPLES[endpoint.name].events)


@pytest.mark.parametrize(
    ("path", "required"),
    [
        ("/v1/chat/completions", ["messages"]),
        ("/v1/completions", ["prompt"]),
        ("/v1/responses", ["input"]),
        ("/v1/messages", ["messages", "max_tokens"]),
        ("/v1/rerank", ["query", "documents"]),
    ],
)
def test_what_is_required_is_said(document: dict[str, Any], path: str, required: list[str]) -> None:
    schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == required


def test_an_example_belongs_to_an_endpoint() -> None:
    assert set(EXAMPLES) == {endpoint.name for endpoint in ENDPOINTS}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
TYPES = [one for one in vars(fields).values() if isinstance(one, Type)]


@pytest.mark.parametrize("wanted", TYPES, ids=lambda wanted: wanted.words)
@given(value=VALUES)
@example(value=[{"a": "b"}])
@example(value={"a": "b"})
@example(value={"a": 1.5})
@example(value=["a"])
@example(value=[1])
@example(value=1.0)
@example(value=True)
def test_a_types_schema_says_what_its_check_does(wanted: Type, value: object) -> None:
    valid = Draft202012Validator(type_schema(wanted)).is_valid(value)
    assert valid == (value is None or wanted.check(value))


def test_every_route_is_described_and_no_other(document: dict[str, Any]) -> None:
    nothing: Any = None
    routes = {route.path.replace(":path", "") for route in data_routes(nothing, ENDPOINTS, nothing, nothing)}
    described = {path for path in document["paths"] if not path.startswith("/admin/v1/")}
    assert described == routes | {"/healthz", "/readyz", "/metrics"}


def test_every_operation_says_its_key_and_its_errors(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method == "parameters":
                continue
            wanted = {"adminKey"} if path.startswith("/admin") or path == "/metrics" else {"apiKey", "apiKeyHeader"}
            wanted = set() if path in ("/healthz", "/readyz") else wanted
            assert {name for one in operation["security"] for name in one} == wanted
            assert not wanted or "401" in operation["responses"]
            assert operation["summary"]
    Draft202012Validator.check_schema(document)


@each_endpoint
def test_errors_are_in_the_endpoints_own_envelope(document: dict[str, Any], endpoint: Passage) -> None:
    answers = document["paths"][endpoint.path]["post"]["responses"]
    assert {"200", "400", "401", "404", "408", "413", "429", "503", "default"} == set(answers)
    shown = answers["400"]["content"]["application/json"]["example"]
    assert shown["error"]["param"] == "top_k"
    assert (shown.get("type") == "error") == endpoint.path.startswith("/v1/messages")
    assert "retry-after" in answers["429"]["headers"]


class Served:
    """A gateway's start."""

    admin_keys = BearerKeys(["right"])
    telemetry: Any = None
    failure = stage = ""
    parts: Any = None


async def test_it_is_closed_and_whole_only_after_the_start() -> None:
    app, status = application(), Served()
    app.router.routes += operator_routes(status, app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        assert (await client.get("/admin/v1/openapi.json")).status_code == 401
        client.headers["authorization"] = "Bearer right"
        early = await client.get("/admin/v1/openapi.json")
        assert (early.status_code, early.json()["error"]["code"]) == (503, "starting")
        status.parts = type("Parts", (), {"endpoints": ENDPOINTS[:2]})()
        paths = set((await client.get("/admin/v1/openapi.json")).raise_for_status().json()["paths"])
    assert paths >= {"/admin/v1/forget-requests", "/v1/models", ENDPOINTS[0].path, ENDPOINTS[1].path}
    assert ENDPOINTS[2].path not in paths
