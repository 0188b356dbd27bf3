from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from server.errors import NotFound, Unavailable
from server.telemetry import Telemetry
from server.upstream.capabilities import Capabilities
from server.upstream.client import UpstreamClient, UpstreamError, UpstreamLost, UpstreamRefused
from server.upstream.pool import Pool, Upstream
from server.upstream.proof import Proof
from tests.fakes.gateway import wired
from tests.fakes.upstream import MODEL, FakeUpstream, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from server.settings import Settings


@pytest.fixture
async def client() -> AsyncIterator[UpstreamClient]:
    async with UpstreamClient(api_key="secret", timeout=0.2, connections=8) as made:
        yield made


def pool_of(client: UpstreamClient, *urls: str, holds: bool | None = None) -> Pool:
    async def prove(upstream: Upstream) -> Proof:
        return Proof(bool(holds), "so says the test", bool(holds), "so says the test")

    return Pool(urls, client, Telemetry(), probe_interval=60, proof_interval=60, prove=None if holds is None else prove)


async def test_the_least_loaded_healthy_one_that_serves_the_model_is_picked(client: UpstreamClient) -> None:
    async with FakeUpstream() as first, FakeUpstream() as second, FakeUpstream(models=("other",)) as third:
        pool = pool_of(client, first.url, second.url, third.url)
        await pool.start()
        a, b, c = pool.upstreams
        assert pool.pick(MODEL) is a
        a.in_flight = 2
        assert pool.pick(MODEL) is b
        b.in_flight = 5
        assert pool.pick(MODEL) is a
        assert pool.pick("other") is c
        pool.failed(a)
        assert pool.pick(MODEL) is b
        pool.failed(b)
        with pytest.raises(Unavailable):
            pool.pick(MODEL)
        with pytest.raises(NotFound):
            pool.pick("unheard of")
        assert set(pool.models()) == {MODEL, "other"}
        await pool.probe(a)
        assert pool.pick(MODEL) is a
        await pool.close()


async def test_before_any_upstream_was_seen_nothing_is_known(client: UpstreamClient) -> None:
    pool = pool_of(client, "http://127.0.0.1:9")
    await pool.start()
    assert not pool.healthy
    for call in (lambda: pool.pick(MODEL), pool.default_model):
        with pytest.raises(Unavailable):
            call()
    await pool.close()


async def test_one_missed_probe_is_forgiven_and_two_are_not(client: UpstreamClient) -> None:
    async with FakeUpstream() as fake:
        pool = pool_of(client, fake.url, holds=True)
        await pool.start()
        (upstream,) = pool.upstreams
        assert pool.proven(upstream)
        fake.healthy = False
        await pool.probe(upstream)
        assert upstream.healthy
        await pool.probe(upstream)
        assert not upstream.healthy
        assert not pool.proven(upstream)
        assert pool.capabilities().reasons["corrupt"] == "no upstream is healthy"
        fake.healthy = True
        await pool.probe(upstream)
        assert pool.proven(upstream)
        await pool.close()


async def test_a_proof_is_repeated_when_it_is_due_and_counts_no_more_when_stale(client: UpstreamClient) -> None:
    proofs = 0

    async def prove(upstream: Upstream) -> Proof:
        nonlocal proofs
        proofs += 1
        return Proof(True, "")

    async with FakeUpstream() as fake:
        pool = Pool([fake.url], client, Telemetry(), probe_interval=60, proof_interval=100, prove=prove)
        await pool.start()
        (upstream,) = pool.upstreams
        await pool.probe(upstream)
        assert proofs == 1
        upstream.proof_at -= 101
        assert pool.proven(upstream)
        await pool.probe(upstream)
        assert proofs == 2
        upstream.proof_at -= 201
        assert not pool.proven(upstream)
        with pytest.raises(Unavailable):
            pool.pick_able(MODEL, upstream, corrupts=True, restricts=False)
        await pool.close()


async def test_a_corrupted_request_goes_only_where_that_is_proven(client: UpstreamClient) -> None:
    async with FakeUpstream(slots=1) as first, FakeUpstream(slots=1) as second:
        pool = pool_of(client, first.url, second.url, holds=True)
        await pool.start()
        a, b = pool.upstreams
        assert pool.pick_able(MODEL, b, corrupts=True, restricts=False) is b
        b.proof = Proof(False, "broken", True, "")
        assert pool.pick_able(MODEL, b, corrupts=True, restricts=False) is a
        assert pool.corruptible(MODEL)
        assert not pool.corruptible("another")
        a.healthy = False
        assert not pool.corruptible(MODEL)
        a.healthy = True
        assert pool.capabilities() == Capabilities(False, True, True, {"corrupt": f"{second.url}: broken"}, adapt=True)
        await pool.close()


async def test_a_restricted_request_goes_only_where_that_is_proven(client: UpstreamClient) -> None:
    async with FakeUpstream(slots=1) as first, FakeUpstream(slots=1) as second:
        pool = pool_of(client, first.url, second.url, holds=True)
        await pool.start()
        a, b = pool.upstreams
        assert pool.capabilities() == Capabilities(True, True, adapt=True)
        b.proof = Proof(True, "", False, "another key")
        assert pool.pick_able(MODEL, b, corrupts=True, restricts=False) is b
        assert pool.pick_able(MODEL, b, corrupts=True, restricts=True) is a
        assert pool.restrictable(MODEL)
        assert pool.capabilities() == Capabilities(
            True, False, True, {"restrict": f"{second.url}: another key"}, adapt=True
        )
        a.proof = Proof(False, "broken", True, "")
        assert pool.restrictable(MODEL)
        assert not pool.corruptible("another")
        await pool.close()


async def test_without_a_proof_there_is_no_corruption(client: UpstreamClient) -> None:
    async with FakeUpstream(slots=1) as fake:
        pool = pool_of(client, fake.url)
        await pool.start()
        reason = "no upstream runs the engine plug-in"
        assert pool.capabilities() == Capabilities(
            False, False, True, {"corrupt": reason, "restrict": reason}, adapt=True
        )
        await pool.close()


async def test_health_is_polled(client: UpstreamClient) -> None:
    async with FakeUpstream() as fake:
        pool = Pool([fake.url], client, Telemetry(), probe_interval=0.01, proof_interval=60)
        fake.healthy = False
        await pool.start()
        assert not pool.healthy
        fake.healthy = True
        for _ in range(200):
            if pool.healthy:
                break
            await asyncio.sleep(0.005)
        assert pool.healthy
        await pool.close()


@pytest.mark.parametrize("listing", [b"", b"{}", b'{"data": 1}', b'{"data": []}', b"[]"])
async def test_an_upstream_that_lists_no_models_is_not_healthy(client: UpstreamClient, listing: bytes) -> None:
    async with FakeUpstream() as fake:
        fake.handler = lambda request: Reply(body=listing) if request.path == "/v1/models" else None
        pool = pool_of(client, fake.url)
        await pool.start()
        assert not pool.healthy
        await pool.close()


async def test_requests_move_to_another_upstream(settings: Settings) -> None:
    async with FakeUpstream() as first, FakeUpstream() as second, wired([first.url, second.url], settings) as gate:

        def broken(request: object) -> Reply:
            raise ConnectionResetError

        first.handler = broken
        statuses = [(await gate.chat()).status for _ in range(5)]
        assert statuses == [503, 200, 200, 200, 200]


async def test_the_client_names_what_went_wrong(client: UpstreamClient) -> None:
    async with FakeUpstream() as fake:
        (upstream,) = pool_of(client, fake.url).upstreams
        assert await client.ask(upstream.route("/detokenize"), {"tokens": [104, 105]}) == {"prompt": "hi"}
        assert fake.received[-1].headers["authorization"] == "Bearer secret"
        with pytest.raises(UpstreamRefused) as refusal:
            await client.ask(upstream.route("/nowhere"), {})
        assert refusal.value.status == 404
        fake.handler = lambda request: Reply(body=b"not json")
        with pytest.raises(UpstreamError):
            await client.ask(upstream.route("/x"), {})
        fake.handler, fake.gate = None, asyncio.Event()
        with pytest.raises(UpstreamError) as slow:
            await client.send(upstream.route("/v1/completions"), b'{"prompt": "a"}')
        assert not isinstance(slow.value, UpstreamLost)
    with pytest.raises(UpstreamLost):
        await client.send(Upstream("http://127.0.0.1:9").route("/x"), b"{}")


async def test_what_an_upstream_can_do_is_not_known_until_it_was_tried(client: UpstreamClient) -> None:
    async with FakeUpstream() as fake:
        pool = pool_of(client, fake.url, holds=True)
        assert not pool.capabilities().known
        await pool.start()
        assert pool.capabilities().known
        pool.failed(pool.upstreams[0])
        assert not pool.capabilities().known
        await pool.close()


async def test_a_proof_that_could_not_be_carried_out_leaves_the_former_one(client: UpstreamClient) -> None:
    answers: list[Proof | None] = [Proof(True, "", True, ""), None, None, Proof(False, "broken", True, "")]

    async def prove(upstream: Upstream) -> Proof:
        if (proof := answers.pop(0)) is None:
            raise UpstreamError("TimeoutError")
        return proof

    async with FakeUpstream(slots=1) as fake:
        pool = Pool([fake.url], client, Telemetry(), probe_interval=60, proof_interval=100, prove=prove)
        await pool.start()
        (upstream,) = pool.upstreams
        upstream.proof_at -= 101
        await pool.probe(upstream)
        assert (pool.proven(upstream), pool.restricts(upstream)) == (True, True)
        assert pool.capabilities() == Capabilities(True, True, adapt=True)
        upstream.proof_at -= 100
        await pool.probe(upstream)
        assert (pool.proven(upstream), pool.restricts(upstream)) == (False, False)
        assert not pool.capabilities().known
        assert pool.capabilities().reasons["corrupt"].endswith("it has not been proven lately")
        await pool.probe(upstream)
        assert answers == []
        assert pool.capabilities() == Capabilities(False, True, True, {"corrupt": f"{fake.url}: broken"}, adapt=True)
        await pool.close()


async def test_what_could_never_be_tried_is_not_known(client: UpstreamClient) -> None:
    async def prove(upstream: Upstream) -> Proof:
        raise UpstreamError("TimeoutError")

    async with FakeUpstream() as fake:
        pool = Pool([fake.url], client, Telemetry(), probe_interval=60, proof_interval=100, prove=prove)
        await pool.start()
        assert pool.healthy
        assert not pool.capabilities().known
        await pool.close()


async def test_an_upstreams_password_is_in_no_name(client: UpstreamClient) -> None:
    (upstream,) = pool_of(client, "http://me:p@ss@vllm:8000/base?token=secret").upstreams
    assert upstream.name == "http://vllm:8000/base"
    assert upstream.route("/v1/models").password == "p@ss"
