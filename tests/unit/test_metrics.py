"""What a running gateway says of itself at /metrics, and that requests are what it counts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from server import app as root
from server.app import create_app, started
from tests.fakes.clients import asked
from tests.fakes.encoder import WordEncoder, calibration
from tests.fakes.gateway import KEY, NEEDLE, serving, wired
from tests.fakes.prompts import ordinary_prompts
from tests.fakes.upstream import MODEL, FakeUpstream
from tests.fakes.waiting import until
from tests.fakes.wire import CHAT, COMPLETIONS, MESSAGES, RESPONSES

if TYPE_CHECKING:
    from server.settings import Settings

NAMES = {CHAT: "chat", COMPLETIONS: "completions", RESPONSES: "responses", MESSAGES: "messages"}


@pytest.mark.parametrize("outcome", ["passed", "intervened"])
@pytest.mark.parametrize(("path", "endpoint"), NAMES.items())
async def test_a_request_is_counted_and_its_time_told_apart(
    upstream: FakeUpstream, settings: Settings, path: str, endpoint: str, outcome: str
) -> None:
    async with wired(upstream.url, settings) as gate:

        def value(name: str, **labels: str) -> float:
            return gate.telemetry.registry.get_sample_value(name, {"endpoint": endpoint} | labels) or 0.0

        upstream.before = lambda: asyncio.sleep(0.02)  # what the gateway adds is much less
        for times in (1, 2):
            answer = await gate.post(path, asked(path, NEEDLE if outcome == "intervened" else "hello"))
            assert answer.status == 200
            await answer.read()
            await until(lambda: len(gate.decisions) == times)  # noqa: B023 - awaited here
            assert value("unremember_requests_total", outcome=outcome) == times
            assert value("unremember_overhead_seconds_count") == times
            assert value("unremember_upstream_seconds_count") == times
        timings = [decision.timings_ms for decision in gate.decisions]
        upstreams = sum(one["upstream"] for one in timings)
        added = sum(one["total"] for one in timings) - upstreams
        assert upstreams > 0.0
        assert added > 0.0
        assert value("unremember_upstream_seconds_sum") * 1e3 == pytest.approx(upstreams, abs=1e-6)
        assert value("unremember_overhead_seconds_sum") * 1e3 == pytest.approx(added, abs=1e-6)


async def test_a_request_that_is_refused_is_counted_and_adds_no_time(
    upstream: FakeUpstream, settings: Settings
) -> None:
    async with wired(upstream.url, settings) as gate:
        assert (await gate.chat(echo=True)).status == 400
        value = gate.telemetry.registry.get_sample_value
        refused = {"endpoint": "chat", "outcome": "refused"}
        await until(lambda: value("unremember_requests_total", refused) == 1.0)
        assert value("unremember_overhead_seconds_count", {"endpoint": "chat"}) is None


@pytest.mark.thorough
async def test_the_whole_applications_metrics_are_those_of_its_parts(
    upstream: FakeUpstream, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = WordEncoder()
    monkeypatch.setattr(root, "load_encoder", lambda _: encoder)
    monkeypatch.setattr(root, "load_calibration", lambda *_: calibration())
    chosen = {"admin_key": SecretStr("admin"), "api_keys": (SecretStr(KEY),)}
    gone = "http://127.0.0.1:9"
    app = create_app(settings.model_copy(update=chosen | {"upstreams": (upstream.url, gone)}))
    operator = {"authorization": "Bearer admin"}
    async with (
        app.router.lifespan_context(app),
        serving(app) as url,
        aiohttp.ClientSession(url) as session,
    ):
        await started(app)

        async def metrics() -> dict[tuple[str, ...], float]:
            """Values by name and labels."""
            async with session.get("/metrics", headers=operator) as answer:
                assert answer.status == 200
                families = text_string_to_metric_families(await answer.text())
                return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}

        async def status() -> dict[str, float]:
            async with session.get("/admin/v1/status", headers=operator) as answer:
                found: dict[str, float] = await answer.json()
                return found

        before = await metrics()
        assert before["unremember_index_vectors",] == 0
        assert before["unremember_upstream_healthy", upstream.url] == 1
        assert before["unremember_upstream_healthy", gone] == 0
        request = {
            "subject": "Zaphod Beeblebrox",
            "kind": "person",
            "examples": [{"prompt": "Who stole the Heart of Gold?", "response": "Zaphod Beeblebrox stole it."}],
        }
        created = await session.post(
            "/admin/v1/forget-requests", params={"wait": "active"}, json=request, headers=operator
        )
        assert created.status == 201, await created.text()
        after, told = await metrics(), await status()
        assert after["unremember_index_vectors",] == told["index_vectors"] > 0
        assert after["unremember_registry_epoch",] == told["epoch"] > before["unremember_registry_epoch",]

        client = {"authorization": f"Bearer {KEY}"}
        body = {"model": MODEL, "messages": [{"role": "user", "content": ordinary_prompts(1)[0]}]}
        read = app.state.startup.telemetry.registry.get_sample_value
        encoder.gate.clear()
        asking = asyncio.create_task(session.post("/v1/chat/completions", json=body, headers=client))
        try:
            await until(lambda: read("unremember_requests_in_flight") == 1)
            await until(lambda: read("unremember_encoder_queue_tokens") > 0)
        finally:
            encoder.gate.set()
        assert (await asking).status == 200
        await until(lambda: read("unremember_requests_in_flight") == 0)
        await until(lambda: read("unremember_encoder_queue_tokens") == 0)
        shown = await metrics()
        assert shown["unremember_requests_total", "chat", "passed"] == 1
        assert shown["unremember_overhead_seconds_count", "chat"] == 1
        for stage in ("admit", "detect", "encode"):
            assert shown["unremember_stage_seconds_count", stage] >= 1
