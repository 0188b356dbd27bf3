"""Holding, aborting, disconnecting, and failing closed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from guards.errors import CannotDecide, Overloaded, OverQuota
from guards.scope import Action, Mode
from server.api import sampling
from tests.fakes.clients import asked
from tests.fakes.gateway import KEY, NEEDLE, Wired, settled, wired
from tests.fakes.upstream import FakeUpstream, Reply
from tests.fakes.wire import GENERATING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from server.settings import Settings

ASKED = f"who is {NEEDLE}?"


@pytest.fixture
async def gate(upstream: FakeUpstream, settings: Settings) -> AsyncIterator[Wired]:
    chosen = settings.model_copy(update={"max_in_flight": 4, "max_body_bytes": 10_000})
    async with wired(upstream.url, chosen) as running:
        upstream.received.clear()
        yield running


async def until(condition: Any) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it did not happen")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", GENERATING)
async def test_the_request_is_forwarded_at_once_and_the_answer_held(
    gate: Wired, upstream: FakeUpstream, path: str, stream: bool
) -> None:
    gate.detector.gate = asyncio.Event()
    asking = asyncio.create_task(gate.post(path, asked(path, stream=stream)))
    await until(lambda: upstream.generated())
    await settled()
    assert not asking.done()
    gate.detector.gate.set()
    response = await asking
    assert await response.read() == bytes(upstream.sent)[-len(await response.read()) :]
    timings = gate.decisions[-1].timings_ms
    assert timings["total"] >= timings["detect"] > timings["upstream"]


async def test_a_verdict_that_comes_before_the_first_token_adds_nothing(gate: Wired, upstream: FakeUpstream) -> None:
    """A stream's head comes at once, long before there is anything to hold."""
    first = asyncio.Event()

    async def thinking(number: int) -> None:
        if number == 0:
            await first.wait()

    upstream.between = thinking
    gate.detector.gate = asyncio.Event()
    asking = asyncio.create_task(gate.chat(stream=True))
    await until(lambda: upstream.generated())
    await settled()
    gate.detector.gate.set()
    await settled()
    first.set()
    await (await asking).read()
    timings = gate.decisions[-1].timings_ms
    assert timings["upstream"] > timings["detect"]


async def test_a_flagged_request_is_aborted_and_nothing_of_its_answer_goes_out(
    gate: Wired, upstream: FakeUpstream
) -> None:
    secret = b'{"choices": "the secret"}'
    upstream.handler = lambda request: (
        Reply(body=secret) if request.path.startswith("/v1/chat") and ASKED in request.raw.decode() else None
    )
    gate.detector.gate = asyncio.Event()
    asking = asyncio.create_task(gate.chat(ASKED, max_tokens=5))
    await until(lambda: upstream.generated())
    await settled()
    gate.detector.gate.set()
    response = await asking
    assert response.status == 200
    assert b"secret" not in await response.read()
    timings = gate.decisions[-1].timings_ms
    assert timings["total"] >= timings["detect"] > timings["upstream"] > 0.0


async def test_the_abort_reaches_an_upstream_that_still_works(gate: Wired, upstream: FakeUpstream) -> None:
    upstream.gate = asyncio.Event()
    gate.detector.gate = asyncio.Event()
    asking = asyncio.create_task(gate.chat(ASKED, max_tokens=5))
    await until(lambda: upstream.generated())
    gate.detector.gate.set()
    await until(lambda: upstream.aborted == 1)
    upstream.gate.set()
    assert (await asking).status == 200
    assert ASKED not in upstream.generated()[-1].raw.decode()


@pytest.mark.parametrize("flagged", [False, True])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", GENERATING)
async def test_a_client_that_leaves_aborts_the_upstream_request(
    gate: Wired, upstream: FakeUpstream, path: str, flagged: bool, stream: bool
) -> None:
    upstream.gate = asyncio.Event()
    gate.detector.gate = asyncio.Event()
    asking = asyncio.create_task(gate.post(path, asked(path, ASKED if flagged else "hi", stream=stream)))
    await until(lambda: upstream.generated())
    gate.detector.gate.set()
    await until(lambda: len(upstream.generated()) == (2 if flagged else 1))
    asking.cancel()
    await until(lambda: upstream.aborted == (2 if flagged else 1))
    await until(lambda: gate.decisions and gate.decisions[-1].outcome == "disconnected")
    await until(lambda: gate.gateway.in_flight == 0)
    assert gate.pool.upstreams[0].in_flight == 0


async def test_a_client_that_leaves_before_the_verdict_aborts_too(gate: Wired, upstream: FakeUpstream) -> None:
    gate.detector.gate = asyncio.Event()
    upstream.gate = asyncio.Event()
    asking = asyncio.create_task(gate.chat())
    await until(lambda: upstream.generated())
    asking.cancel()
    await until(lambda: upstream.aborted == 1)
    await until(lambda: gate.gateway.in_flight == 0)


async def test_a_client_that_leaves_in_the_middle_of_a_stream(gate: Wired, upstream: FakeUpstream) -> None:
    third = asyncio.Event()

    async def between(index: int) -> None:
        if index == 2:
            await third.wait()

    upstream.between = between
    response = await gate.chat(stream=True)
    await response.content.readany()
    response.close()
    await until(lambda: upstream.aborted == 1)
    await until(lambda: gate.gateway.in_flight == 0)


async def test_an_upstream_that_breaks_off_cuts_the_stream(gate: Wired, upstream: FakeUpstream) -> None:
    async def between(index: int) -> None:
        if index == 2:
            raise ConnectionResetError

    upstream.between = between
    response = await gate.chat(stream=True)
    with pytest.raises(aiohttp.ClientError):
        await response.read()
    await until(lambda: gate.decisions and gate.decisions[-1].outcome == "upstream_failed")


@pytest.mark.parametrize("error", [CannotDecide("x"), Overloaded("x"), RuntimeError("boom")])
async def test_without_a_verdict_it_fails_closed(gate: Wired, upstream: FakeUpstream, error: Exception) -> None:
    upstream.gate = asyncio.Event()
    gate.detector.gate = asyncio.Event()
    gate.detector.error = error
    asking = asyncio.create_task(gate.chat())
    await until(lambda: upstream.generated())
    gate.detector.gate.set()
    response = await asking
    assert response.status == 503
    assert int(response.headers["retry-after"]) >= 1
    assert "boom" not in await response.text()
    await until(lambda: upstream.aborted == 1)
    assert gate.decisions[-1].outcome == "undecided"


async def test_what_is_logged_of_a_failure_names_the_request_and_quotes_nothing(
    gate: Wired, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def prepare(request_ids: object) -> None:
        raise RuntimeError(ASKED)

    monkeypatch.setattr(gate.watchlist, "prepare", prepare)
    failed = await gate.chat(ASKED)
    assert failed.status == 500
    gate.detector.error = RuntimeError(ASKED)
    undecided = await gate.chat(ASKED)
    assert undecided.status == 503
    for answer in (failed, undecided):
        lines = [record.getMessage() for record in caplog.records if answer.headers["x-request-id"] in record.message]
        assert len(lines) == 1
        assert "RuntimeError" in lines[0]
    assert NEEDLE not in caplog.text


async def test_without_a_verdict_it_passes_where_the_settings_say_so(
    upstream: FakeUpstream, settings: Settings
) -> None:
    async with wired(upstream.url, settings.model_copy(update={"undecided": "pass"})) as gate:
        gate.detector.error = CannotDecide("x")
        assert (await gate.chat()).status == 200


@pytest.mark.parametrize("undecided", ["refuse", "pass"])
async def test_a_client_beyond_its_share_of_the_encoder_is_told_to_come_back(
    upstream: FakeUpstream, settings: Settings, undecided: str
) -> None:
    async with wired(upstream.url, settings.model_copy(update={"undecided": undecided})) as gate:
        gate.detector.error = OverQuota(7.2)
        response = await gate.chat()
        assert response.status == 429
        assert response.headers["retry-after"] == "8"
        assert (await response.json())["error"]["code"] == "checking_quota"


async def test_more_at_once_than_the_bound_are_told_to_come_back(gate: Wired, upstream: FakeUpstream) -> None:
    upstream.gate = asyncio.Event()
    asking = [asyncio.create_task(gate.chat()) for _ in range(4)]
    await until(lambda: gate.gateway.in_flight == 4)
    response = await gate.chat()
    assert response.status == 429
    assert int(response.headers["retry-after"]) >= 1
    assert response.headers["x-request-id"]
    upstream.gate.set()
    assert [(await one).status for one in asking] == [200] * 4
    assert (await gate.chat()).status == 200


async def test_a_body_beyond_the_limit_is_not_read_to_its_end(gate: Wired, upstream: FakeUpstream) -> None:
    refused = await gate.chat("x" * 20_000)
    assert refused.status == 413
    told = (await refused.json())["error"]
    assert (told["param"], told["code"]) == ("body", "body_too_large")
    assert "10000 bytes" in told["message"]
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while taken < 50_000_000:
            taken += 50_000
            yield b"x" * 50_000

    try:
        response = await gate.session.post(gate.url + "/v1/chat/completions", data=endless())
        assert response.status == 413
    except aiohttp.ClientConnectionError:
        pass  # the server may close the connection before the client has read the answer
    assert taken < 40_000_000
    assert not upstream.received
    assert gate.decisions[-1].outcome == "refused"


async def test_a_body_that_does_not_come_is_not_waited_for(upstream: FakeUpstream, settings: Settings) -> None:
    async with wired(upstream.url, settings.model_copy(update={"body_timeout": 0.05})) as gate:
        host, port = gate.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: 9\r\n"
        writer.write(f"{head}\r\n{{".encode())
        answer = await asyncio.wait_for(reader.read(), 5)  # to its end: the connection is closed
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"body_timeout"' in answer
        assert gate.gateway.in_flight == 0
        writer.close()


async def test_an_error_of_the_upstream_does_not_wait_for_the_verdict(gate: Wired, upstream: FakeUpstream) -> None:
    gate.detector.gate = asyncio.Event()
    upstream.handler = lambda request: Reply(418, b"{}") if request.path.startswith("/v1/chat") else None
    for text in ("hi", ASKED):
        response = await asyncio.wait_for(gate.chat(text), 5)
        assert response.status == 418
        assert gate.decisions[-1].outcome == "upstream_error"
    assert gate.detector.cancelled == 2
    assert gate.gateway.in_flight == 0


async def test_a_replica_that_cannot_follow_the_registry_serves_nobody(gate: Wired, upstream: FakeUpstream) -> None:
    gate.ready[0] = False
    for text in ("hi", ASKED):
        response = await gate.chat(text)
        assert response.status == 503
        assert int(response.headers["retry-after"]) >= 1
    assert not upstream.received
    gate.ready[0] = True
    assert (await gate.chat()).status == 200


@pytest.mark.parametrize("key", [None, "", "wrong"])
async def test_a_request_without_a_known_key_goes_nowhere(gate: Wired, upstream: FakeUpstream, key: str | None) -> None:
    async with aiohttp.ClientSession() as stranger:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        response = await stranger.post(gate.url + "/v1/chat/completions", data=b"{", headers=headers)
        assert response.status == 401
        assert (await response.json())["error"]["type"] == "authentication_error"
    assert not upstream.received
    assert not gate.decisions


@pytest.mark.parametrize("field", sorted(sampling.REFUSED))
@pytest.mark.parametrize("path", GENERATING)
async def test_a_refused_field_is_refused_alike_whatever_the_prompt(
    gate: Wired, upstream: FakeUpstream, path: str, field: str
) -> None:
    answers = set()
    for text in ("hi", ASKED):
        for value in (True, None, [1], "x"):
            response = await gate.post(path, asked(path, text) | {field: value})
            answers.add((response.status, await response.read()))
    ((status, answer),) = answers
    assert status == 400
    assert f'"param":"{field}"'.encode() in answer
    assert not upstream.received


async def test_an_upstream_that_cannot_be_reached_is_a_503(gate: Wired, upstream: FakeUpstream) -> None:
    await upstream.stop()

    def gone(request: object) -> Reply:
        raise ConnectionResetError

    upstream.handler = gone
    for text in ("hi", ASKED):
        response = await gate.chat(text)
        assert response.status == 503
        assert "retry-after" in response.headers
        assert (await response.json())["error"]["code"] == "upstream_unavailable"
    assert not gate.pool.healthy


@pytest.mark.parametrize("how", ["shadow", "paused"])
@pytest.mark.parametrize("path", GENERATING)
async def test_in_shadow_and_when_paused_not_a_byte_is_changed(
    gate: Wired, upstream: FakeUpstream, path: str, how: str
) -> None:
    if how == "shadow":
        gate.detector.mode = Mode.SHADOW
    else:
        gate.paused[0] = True
    upstream.sent.clear()
    response = await gate.post(path, asked(path, ASKED, stream=True))
    assert await response.read() == bytes(upstream.sent)
    decision = gate.decisions[-1]
    assert decision.outcome == "passed"
    assert not decision.interventions
    assert [found.action for found in decision.shadow] == [Action.DECLINE]
    assert 'unremember_decisions_total{action="decline",mode="shadow"} 1.0' in gate.telemetry.render().decode()


async def test_a_decision_holds_ids_and_figures_and_no_text(gate: Wired) -> None:
    await (await gate.chat(ASKED)).read()
    decision = gate.decisions[-1]
    assert decision.endpoint == "chat"
    assert decision.outcome == "intervened"
    (found,) = decision.detections
    assert (found.request_id, found.version, found.probability) == ("fr_1", 1, 0.99)
    assert decision.interventions[0].request_ids == ("fr_1",)
    assert NEEDLE not in repr(decision)
    assert {"total", "admit", "detect", "upstream"} <= decision.timings_ms.keys()


async def test_a_prompt_in_tokens_that_cannot_be_decoded_gets_the_upstreams_own_error(
    gate: Wired, upstream: FakeUpstream
) -> None:
    upstream.handler = lambda request: (
        Reply(400, b'{"error": "out of vocabulary"}')
        if "token" in request.path or "completions" in request.path
        else None
    )
    response = await gate.complete([1, 2, 3])
    assert response.status == 400
    assert await response.read() == b'{"error": "out of vocabulary"}'
    upstream.handler = lambda request: Reply(400) if request.path == "/detokenize" else None
    response = await gate.complete([1, 2, 3])
    assert response.status == 503
    assert gate.decisions[-1].outcome == "undecided"
