"""The composition root, as far as it goes without a model."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from pydantic import SecretStr

from guards.act import decline
from server import app as root
from server import loading
from server.admin.routes import create_admin_router
from server.api.chat import ChatCompletions
from server.api.endpoint import Limits
from server.app import create_admin_app, create_app, started
from server.assets import AssetError
from server.auth import BearerKeys
from server.gateway.routes import data_routes
from server.loading import load_renderer
from server.operations import authoriser
from tests.fakes.gateway import serving

if TYPE_CHECKING:
    from pathlib import Path

    from server.settings import Settings


async def test_every_answer_carries_a_request_id(settings: Settings) -> None:
    app = create_app(settings)

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError

    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    async with serving(app) as url, aiohttp.ClientSession() as session:
        seen = []
        for method, path, status in (
            ("GET", "/healthz", 200),
            ("GET", "/readyz", 503),
            ("POST", "/healthz", 405),
            ("GET", "/metrics", 401),
            ("GET", "/nowhere", 503),
            ("GET", "/broken", 500),
        ):
            response = await session.request(method, url + path, headers={"x-request-id": "mine"})
            assert response.status == status, path
            seen += response.headers.getall("x-request-id")
        assert len(seen) == len(set(seen)) == 6
        assert "mine" not in seen


async def test_each_port_serves_its_own_half(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing: Any = None

    async def assembled(_: Settings, startup: root.Startup, *__: object) -> root.Parts:
        there: Any = SimpleNamespace(healthy=True, ready=True)
        authorise = authoriser(startup.admin_keys)
        return root.Parts(
            pool=there,
            forgetting=there,
            endpoints=(),
            data=data_routes(nothing, [ChatCompletions(Limits())], nothing, BearerKeys(["client"])),
            admin=create_admin_router(nothing, nothing, nothing, nothing, nothing, nothing, nothing, authorise),
        )

    monkeypatch.setattr(root, "_assemble", assembled)
    app = create_app(settings.model_copy(update={"admin_port": settings.port + 1, "admin_key": SecretStr("admin")}))
    operators = (
        *(("GET", "/metrics"), ("GET", "/admin/v1/openapi.json"), ("GET", "/admin/v1/status")),
        *(("POST", "/admin/v1/forget-requests"), ("POST", "/admin/v1/pause"), ("GET", "/admin/v1")),
    )
    clients = (("GET", "/v1/models"), ("GET", "/v1/models/x"), ("POST", "/v1/chat/completions"), ("GET", "/v1"))
    headers = {"authorization": "Bearer admin"}
    async with app.router.lifespan_context(app), aiohttp.ClientSession(headers=headers) as session:
        await started(app)
        async with serving(app) as data, serving(create_admin_app(app)) as admin:
            for url, foreign in ((data, operators), (admin, clients)):
                for method, path in foreign:
                    response = await session.request(method, url + path)
                    assert response.status == 404, (method, path)
                    assert (await response.json())["error"]["code"] == "unknown_route"
            for url in (data, admin):
                assert (await session.get(f"{url}/readyz")).status == 200
            assert (await session.get(f"{data}/v1/models")).status == 401
            assert (await session.get(f"{admin}/metrics")).status == 200
            assert (await session.post(f"{admin}/admin/v1/pause")).status == 400


async def test_what_declining_needs_is_loaded_at_the_start(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = []

    def stop(*_: Any) -> None:
        raise AssetError("far enough")

    monkeypatch.setattr(root, "load_encoder", lambda _: None)
    monkeypatch.setattr(root, "load_calibration", stop)
    monkeypatch.setattr(decline, "prepare", lambda: prepared.append(True))
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        with pytest.raises(RuntimeError, match="far enough"):
            await started(app)
    assert prepared


async def test_a_start_that_fails_is_logged_without_the_failures_message(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "Zaphod Beeblebrox"

    async def fails(*_: Any) -> None:
        raise ValueError(secret)

    monkeypatch.setattr(root, "_assemble", fails)
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        with pytest.raises(RuntimeError, match="ValueError while starting"):
            await started(app)
    assert "the gateway did not start: ValueError" in caplog.text
    assert "in fails" in caplog.text
    assert secret not in caplog.text


@pytest.mark.parametrize(
    ("upstreams", "tokenizer", "loaded"),
    [((), None, "packaged"), (("http://x",), None, None), (("http://x",), "given", "given")],
)
def test_foreign_upstreams_are_not_rendered_for_with_the_packaged_tokenizer(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    upstreams: tuple[str, ...],
    tokenizer: str | None,
    loaded: str | None,
) -> None:
    monkeypatch.setattr(loading, "model_directory", lambda _: tmp_path / "packaged")
    monkeypatch.setattr(loading.Renderer, "load", lambda directory: directory.name)
    given = tmp_path / tokenizer if tokenizer else None
    assert load_renderer(settings.model_copy(update={"upstreams": upstreams, "tokenizer": given})) == loaded
